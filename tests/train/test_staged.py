"""Second stages, post-hoc steps and several experts, from the recipe to the folder that they leave."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor
from train.jobs import digits, interrupt_in

from tailwise.posthoc import correction, tau_normalised
from tailwise.train import resume
from tailwise.train.fit import evaluate
from tailwise.train.run import Run, by_recipe
from tailwise.types import TailwiseError


def second(folder: Path, first: Run, **changed: Any) -> Path:
    """A recipe that starts from a run; ``changed`` is laid over it."""
    recipe: dict[str, Any] = {"needs": {"stage1": str(first.path)}}
    recipe["model"] = {"classifier": "linear", "start_from": "${needs.stage1}"} | changed.pop("model", {})
    path = folder / "second.yaml"
    path.write_text(yaml.safe_dump(recipe | changed))
    return path


def weights(run: Run) -> dict[str, Tensor]:
    return load_file(run.path / "model.safetensors")


def backbone(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key.startswith("backbone.")}


def assert_judged_again_alike(run: Run) -> None:
    before = (run.path / "result.json").read_bytes()
    (run.path / "result.json").write_text((run.path / "result.json").read_text().replace('"balanced": ', '"balanced": 1'))
    assert evaluate(run.path).result["balanced"] <= 1
    assert (run.path / "result.json").read_bytes() == before


def test_crt_trains_a_new_classifier_and_nothing_else(tmp_path: Path, done: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = second(tmp_path, done, model={"reinitialise": "classifier", "freeze": "backbone"}, sampler="ClassBalanced")
    with monkeypatch.context() as patch:
        interrupt_in(patch, 1, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            digits(tmp_path / "run", recipe=recipe)
    after_one_epoch = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    run = resume(tmp_path / "run")
    first, now = weights(done), weights(run)
    assert first.keys() == now.keys()
    assert any(key.endswith("running_mean") for key in backbone(now))
    assert all(torch.equal(value, now[key]) for key, value in backbone(first).items())  # running statistics too
    for key in set(first) - set(backbone(first)):
        assert not torch.equal(first[key], now[key]), key
        assert not torch.equal(after_one_epoch[f"task.model.{key}"], now[key]), key
    carried = torch.tensor(run.model().about["carried_log_prior"])
    torch.testing.assert_close(carried, carried.mean().expand(10))  # classes were shown alike
    assert run.result["post_hoc"] is None
    assert_judged_again_alike(run)


def test_lws_learns_one_scale_for_each_row_of_a_frozen_classifier(tmp_path: Path, done: Run) -> None:
    recipe = second(tmp_path, done, model={"classifier": "scaled", "freeze": "backbone"}, sampler="ClassBalanced")
    run = digits(tmp_path / "run", recipe=recipe, epochs=1)
    first, now = weights(done), weights(run)
    assert all(torch.equal(value, now[key]) for key, value in backbone(first).items())
    assert torch.equal(now["classifier.frozen_weight"], first["classifier.weight"])
    assert torch.equal(now["classifier.frozen_bias"], first["classifier.bias"])
    assert bool((now["classifier.scales"] != 1).all())
    assert_judged_again_alike(run)


def test_post_hoc_logit_adjustment_moves_the_bias_by_the_log_prior_once(tmp_path: Path, done: Run) -> None:
    recipe = second(tmp_path, done, post_hoc="LogitAdjustment", epochs=0)
    run = digits(tmp_path / "run", recipe=recipe, epochs=0)
    first, now, counts = weights(done), weights(run), torch.tensor(done.model().about["train_counts"])
    by = correction(torch.tensor(done.model().about["carried_log_prior"]), counts)
    torch.testing.assert_close(now.pop("classifier.bias"), first.pop("classifier.bias") + by.float())
    assert all(torch.equal(first[key], now[key]) for key in now)
    assert run.result["balanced"] == done.result["post_hoc"]["balanced"]
    assert (run.result["post_hoc"], run.result["seconds"]) == (None, 0.0)
    assert run.model().about["post_hoc"] == {"LogitAdjustment": {}}
    assert_judged_again_alike(run)
    (run.path / "result.json").unlink()
    assert resume(run.path).result["balanced"] == run.result["balanced"]  # the step is not taken twice

    twice = digits(tmp_path / "twice", recipe=second(tmp_path, run, post_hoc="LogitAdjustment", epochs=0), epochs=0)
    again = weights(twice)
    torch.testing.assert_close(again["classifier.bias"], weights(run)["classifier.bias"])  # it has met the prior already


def test_tau_normalisation_says_which_tau_it_chose(tmp_path: Path, done: Run) -> None:
    recipe = second(tmp_path, done, post_hoc="TauNormalisation", epochs=0)
    run = digits(tmp_path / "run", recipe=recipe, epochs=0)
    (chosen,) = run.model().about["post_hoc"]["TauNormalisation"].values()
    assert 0 <= chosen <= 2
    first, now = weights(done), weights(run)
    torch.testing.assert_close(now["classifier.weight"], tau_normalised(first["classifier.weight"], chosen).float())
    assert not bool(now["classifier.bias"].any())
    assert_judged_again_alike(run)


def test_drops_says_what_it_found_and_needs_held_out_samples(tmp_path: Path, done: Run) -> None:
    recipe = second(tmp_path, done, post_hoc="Drops", epochs=0)
    run = digits(tmp_path / "run", recipe=recipe, epochs=0)
    assert set(run.model().about["post_hoc"]["Drops"]) == {"divergence", "lambda"}
    shift = weights(run)["classifier.bias"] - weights(done)["classifier.bias"]
    assert int(shift.argmax()) > 4  # the rare classes are the last
    assert_judged_again_alike(run)
    with pytest.raises(TailwiseError, match=r"Drops: needs held-out samples .*; set data.validation above 0") as refusal:
        digits(tmp_path / "other", recipe=recipe, epochs=0, **{"data.validation": 0})
    assert len(str(refusal.value).splitlines()) == 1


def test_no_epochs_without_a_run_to_start_from_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match=r"epochs 0 trains nothing, so model\.start_from must name a trained run"):
        digits(tmp_path / "run", epochs=0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("objective", ["LogitAdjusted", "RIDE", "SADE"])
def test_several_experts_are_trained_saved_resumed_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    options: dict[str, Any] = {"objective": objective, "model.experts": 3, "data.largest": 30}
    with monkeypatch.context() as patch:
        interrupt_in(patch, 1, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            digits(tmp_path / "cut", **options)
    cut = resume(tmp_path / "cut")
    assert cut.model().about["network"]["experts"] == 3
    assert len({key.split(".")[2] for key in weights(cut) if key.startswith("classifier.parts")}) == 3
    assert_judged_again_alike(cut)
    if objective == "RIDE":  # the one with most of its own
        whole = weights(digits(tmp_path / "whole", **options))
        assert all(torch.equal(whole[key], value) for key, value in weights(cut).items())


def test_a_second_stage_of_experts_starts_from_all_of_them(tmp_path: Path) -> None:
    small = {"model.experts": 2, "data.largest": 30, "epochs": 1}
    first = digits(tmp_path / "first", **small)
    recipe = second(tmp_path, first, model={"reinitialise": "classifier", "freeze": "backbone"})
    run = digits(tmp_path / "run", recipe=recipe, **small)
    assert all(torch.equal(value, weights(run)[key]) for key, value in backbone(weights(first)).items())
    with pytest.raises(TailwiseError, match="number of experts"):
        digits(tmp_path / "other", recipe=recipe, **(small | {"model.experts": 3}))


def test_runs_of_one_recipe_are_one_group_though_each_seed_has_its_own_first_stage(tmp_path: Path, done: Run) -> None:
    recipe = second(tmp_path, done, post_hoc="LogitAdjustment", epochs=0)
    run = digits(tmp_path / "made" / "0", recipe=recipe, epochs=0)
    runs = []
    for seed in range(3):
        first = Run(shutil.copytree(done.path, tmp_path / "first" / str(seed)))
        copy = Run(shutil.copytree(run.path, tmp_path / "second" / str(seed)))
        settled = yaml.safe_load(copy.recipe_text) | {"seed": seed, "needs": {"stage1": str(first.path)}}
        (copy.path / "recipe.yaml").write_text(yaml.safe_dump(settled))
        copy.write("result.json", copy.result | {"seed": seed})
        runs.append(copy)
    assert [len(results) for results in by_recipe(runs).values()] == [3]
    first.write("manifest.json", first.manifest | {"recipe": "another"})
    assert sorted(len(results) for results in by_recipe(runs).values()) == [1, 2]
