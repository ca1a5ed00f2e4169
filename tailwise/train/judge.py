"""The end of every run: its model, as it will be loaded by its users, judged on the test split."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tailwise import metrics
from tailwise.data.loader import EvalLoader
from tailwise.evaluate import correction, observe, predictions, result
from tailwise.train.engine import CHECK_BATCH
from tailwise.train.prepare import Prepared
from tailwise.train.recipe import Recipe
from tailwise.train.run import RESULT, Run


def judge_run(run: Run, recipe: Recipe, prepared: Prepared, cost: Mapping[str, float]) -> dict[str, Any]:
    """Write and return ``result.json``: every figure of `tailwise.evaluate.result` for the last epoch's model.

    Train accuracy for the gap is measured without augmentation and in eval mode. A best epoch is given only where the
    epochs were looked at on a validation split.
    """
    saved = run.model()
    if torch.cuda.is_available() and recipe.engine.accelerator != "cpu":
        saved = saved.cuda()
    if recipe.engine.progress != "none":
        print(f"judging on {len(prepared.test.labels)} test and {len(prepared.train.labels)} training samples", file=sys.stderr)
    workers = recipe.engine.workers
    train = EvalLoader(prepared.train, prepared.plain(), batch_size=CHECK_BATCH, workers=workers)
    test = EvalLoader(prepared.test, prepared.plain(), batch_size=CHECK_BATCH, workers=workers)
    trained = metrics.tally(*predictions(saved, train), saved.classes)
    answers = observe(saved, test, correction(torch.tensor(saved.about["carried_log_prior"]), prepared.counts))
    figures = {
        "recipe": run.manifest["recipe"],
        "objective": run.manifest["objective"],
        "data": f"{Path(prepared.source.name).name}{_tail(recipe)}",
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        **cost,
        "selection": "last epoch",
        **result(answers, prepared.counts, prepared.names, trained),
        "best_epoch": _best(run) if prepared.checked_name == "val" else None,
    }
    run.write(RESULT, figures)
    return figures


def _tail(recipe: Recipe) -> str:
    data = recipe.data
    if data.counts is not None:
        return f", counts of {data.counts}"
    return "" if data.imbalance_factor is None else f"-LT, {data.profile} {data.imbalance_factor:g}"


def _best(run: Run) -> dict[str, Any] | None:
    looks = [(row["val_balanced"], row["epoch"]) for row in run.metrics() if "val_balanced" in row]
    if not looks:
        return None
    balanced, epoch = max(looks)
    return {"epoch": epoch + 1, "balanced": balanced, "split": "val"}
