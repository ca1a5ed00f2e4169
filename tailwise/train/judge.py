"""The end of every run: its model, as it will be loaded by its users, judged on the test split."""

import math
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tailwise.doctor.prior import carried_share
from tailwise.train.diagnosis import diagnosis
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Recipe
from tailwise.train.run import RESULT, Run
from tailwise.types import TailwiseError

PAGE = "report.html"


def judge_run(run: Run, recipe: Recipe, prepared: Prepared, cost: Mapping[str, float]) -> dict[str, Any]:
    """Write and return ``result.json``: every figure of `Prepared.judge` for the last epoch's model.

    A best epoch is given only where the epochs were looked at on a validation split.
    """
    saved = run.model()
    if torch.cuda.is_available() and recipe.engine.accelerator != "cpu":
        saved = saved.cuda()
    if recipe.engine.progress != "none":
        print(f"judging on {len(prepared.test.labels)} test images, and on training images for the gap", file=sys.stderr)
    judged = prepared.judge(saved.network, saved.about, recipe.engine)
    figures = {
        "recipe": run.manifest["recipe"],
        "objective": run.manifest["objective"],
        "data": f"{Path(prepared.source.name).name}{_tail(recipe)}",
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        **cost,
        "selection": "last epoch",
        **judged.figures,
        "best_epoch": _best(run, prepared.headline) if prepared.checked_name == "val" else None,
        "carried_prior": carried_share(saved.about["carried_log_prior"], prepared.counts),
    }
    figures["doctor"] = diagnosis(run, figures)
    run.write(RESULT, figures)
    try:
        from tailwise.report import geometry  # templates load where a page is drawn

        judged.draw(run.path / PAGE, figures, run)
        geometry.renew(run.path)  # a study of this model, if there is one
    except Exception as error:  # a page that cannot be drawn loses nobody a result
        if not isinstance(error, OSError | TailwiseError):
            traceback.print_exc()  # a mistake of ours
        advice = f"the result is whole; draw it again with `tailwise evaluate {run.path}`"
        print(f"{run.path / PAGE}: could not be drawn ({error}); {advice}", file=sys.stderr)
    return figures


def _tail(recipe: Recipe) -> str:
    data = recipe.data
    if data.counts is not None:
        return f", counts of {data.counts}"
    return "" if data.imbalance_factor is None else f"-LT, {data.profile} {data.imbalance_factor:g}"


def _best(run: Run, figure: str) -> dict[str, Any] | None:
    found = [(row.get(f"val_{figure}"), row["epoch"]) for row in run.metrics() if f"val_{figure}" in row]
    looks = [(value, epoch) for value, epoch in found if value is not None and math.isfinite(value)]  # NaN: nothing to judge by
    if not looks:
        return None
    value, epoch = max(looks)
    return {"epoch": epoch + 1, figure: value, "split": "val"}
