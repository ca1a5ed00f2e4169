"""Runs that a recipe needs, such as a teacher."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import MODELS
from train.jobs import digits, interrupt_in

from tailwise.teacher import Ema
from tailwise.train import needs, parse, resume
from tailwise.train.fit import evaluate
from tailwise.train.run import Run
from tailwise.types import TailwiseError

GML = """
needs: {teacher: NEEDED}
model: {classifier: cosine, backbone: resnet8}
objective:
  class_path: GML
  init_args:
    queue_size: 64
    distillation_weight: 1.0
    teacher:
      class_path: tailwise.teacher.Frozen
      init_args: {network: {class_path: tailwise.models.Saved, init_args: {run: "${needs.teacher}"}}}
"""
TEACHER = """
model: {classifier: cosine, backbone: resnet8}
objective: LogitAdjusted
epochs: 1
batch_size: 32
"""


def gml_recipe(folder: Path, needed: str) -> Path:
    path = folder / "gml.yaml"
    path.write_text(GML.replace("NEEDED", needed))
    return path


def test_a_needed_teacher_is_trained_first_and_used_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "teacher.yaml").write_text(TEACHER)
    recipe = gml_recipe(tmp_path, str(tmp_path / "teacher.yaml"))
    run = digits(tmp_path / "run", recipe=recipe, epochs=1)
    teacher = Run(run.path / "needs" / "teacher")
    assert "needs teacher: training" in capsys.readouterr().err
    assert (run.result["objective"], teacher.result["objective"]) == ("GML", "LogitAdjusted")
    assert teacher.manifest["data"]["train_counts"] == run.manifest["data"]["train_counts"]
    state = torch.load(run.path / "last.ckpt", weights_only=True)["state_dict"]
    weights = load_file(teacher.path / "model.safetensors")
    frozen = {key.removeprefix("task.objective.teacher.network.network."): v for key, v in state.items()}
    assert all(torch.equal(weights[key], frozen[key]) for key in weights)

    written = (teacher.path / "model.safetensors").stat().st_mtime_ns
    digits(tmp_path / "run", recipe=recipe, epochs=1, overwrite=True)
    assert (teacher.path / "model.safetensors").stat().st_mtime_ns == written  # kept, for it fits
    digits(tmp_path / "run", recipe=recipe, epochs=1, overwrite=True, **{"data.imbalance_factor": 5})
    assert (teacher.path / "model.safetensors").stat().st_mtime_ns != written  # made for other data

    result = run.result
    shutil.rmtree(run.path / "needs")
    assert evaluate(run.path).result == result  # judging needs no teacher


def test_a_finished_run_may_be_the_teacher(tmp_path: Path, done: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run = digits(tmp_path / "run", recipe=gml_recipe(tmp_path, str(done.path)), epochs=1)
    assert run.finished
    assert not (run.path / "needs").exists()
    assert "training" not in capsys.readouterr().err


def test_an_unfinished_run_given_as_the_teacher_is_refused_and_left_alone(tmp_path: Path, done: Run) -> None:
    copy = shutil.copytree(done.path, tmp_path / "copy")
    (copy / "result.json").unlink()
    before = sorted(path.name for path in copy.iterdir())
    with pytest.raises(TailwiseError, match=r"needs teacher: .* is not finished"):
        digits(tmp_path / "run", recipe=gml_recipe(tmp_path, str(copy)))
    assert sorted(path.name for path in copy.iterdir()) == before


def test_a_teacher_of_other_classes_is_refused(tmp_path: Path, done: Run) -> None:
    copy = shutil.copytree(done.path, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["data"]["classes"] = ["a", "b"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TailwiseError, match="has 2 classes, the data 10"):
        digits(tmp_path / "run", recipe=gml_recipe(tmp_path, str(copy)))


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        ("runs/nowhere", "needs teacher: no run and no recipe 'runs/nowhere'; "),
        ("HERE/gml.yaml", r"needs teacher: the recipes need one another in a circle \(gml -> gml\)"),
        ("HERE/broken.yaml", "needs teacher: recipe: no key 'flour'; "),
    ],
)
def test_a_need_that_nothing_can_fill_costs_no_older_run(tmp_path: Path, done: Run, needed: str, said: str) -> None:
    (tmp_path / "broken.yaml").write_text("flour: 500\n")
    copy = shutil.copytree(done.path, tmp_path / "copy")
    for out in (tmp_path / "run", copy):
        with pytest.raises(TailwiseError, match=said) as refusal:
            digits(out, recipe=gml_recipe(tmp_path, needed.replace("HERE", str(tmp_path))), overwrite=True)
        assert len(str(refusal.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()
    assert Run(copy).result == done.result


def cut_off(folder: Path, monkeypatch: pytest.MonkeyPatch, epoch: int) -> Path:
    """The recipe of a run with a teacher in ``folder / "run"``, the first of them interrupted that has such an epoch."""
    (folder / "teacher.yaml").write_text(TEACHER)
    recipe = gml_recipe(folder, str(folder / "teacher.yaml"))
    with monkeypatch.context() as patch:
        interrupt_in(patch, epoch, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            digits(folder / "run", recipe=recipe, epochs=epoch + 1)
    return recipe


def test_a_run_that_was_cut_off_in_its_teachers_training_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = cut_off(tmp_path, monkeypatch, epoch=0)
    assert resume(tmp_path / "run").result["recipe"] == str(recipe)


@pytest.mark.parametrize("change", ["edited", "deleted"])
def test_a_resumed_run_keeps_the_teacher_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    cut_off(tmp_path, monkeypatch, epoch=1)
    weights = tmp_path / "run" / "needs" / "teacher" / "model.safetensors"
    before = weights.read_bytes()
    if change == "edited":
        (tmp_path / "teacher.yaml").write_text(TEACHER.replace("LogitAdjusted", "CrossEntropy"))
    else:
        (tmp_path / "teacher.yaml").unlink()
    assert resume(tmp_path / "run").result["epochs"] == 2
    assert weights.read_bytes() == before


def test_without_its_needs_a_recipe_still_says_what_it_starts_from() -> None:
    record = parse.resolve(parse.read("digits_lt/drops"), ())
    assert needs.without(record).model.start_from == "${needs.stage1}"  # nothing else makes no epochs a recipe
    gml = needs.without(parse.resolve(parse.read("digits_lt/gml"), ())).objective(torch.ones(10), MODELS["rows"](10))
    assert isinstance(gml.teacher, Ema)  # instead of one that is not there yet


def test_a_need_that_is_used_but_not_named_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gml.yaml"
    path.write_text(GML.replace("needs: {teacher: NEEDED}", ""))
    with pytest.raises(TailwiseError, match="`needs:` has no 'teacher'"):
        digits(tmp_path / "run", recipe=path)
