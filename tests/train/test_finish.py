"""The prior that a trained model's logits carry, the warning of a correction that is made twice, and the calibration."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from tiny import MODELS
from train.jobs import digits

from tailwise import calibrate, conformal
from tailwise.counts import log_prior
from tailwise.data.samplers import ClassBalanced, EffectiveNumber, ProgressivelyBalanced, Sampler, Shuffled, SquareRoot
from tailwise.losses import BCL, CrossEntropy, LogitAdjusted, Objective
from tailwise.posthoc import Validation
from tailwise.priors import adjust
from tailwise.train import parse
from tailwise.train.finish import _calibrated, carried_log_prior, warn_of_double_correction
from tailwise.train.prepare import prepare
from tailwise.train.run import Run
from tailwise.types import IGNORE

COUNTS = torch.tensor([60, 12, 3, 1])


def objective(cls: type[Objective], counts: torch.Tensor = COUNTS, **options: float) -> Objective:
    return cls(counts, MODELS["rows"](len(counts)), **options)


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (Shuffled(), COUNTS / 76),
        (EffectiveNumber(0.0), COUNTS / 76),
        (ClassBalanced(), torch.full((4,), 0.25)),
        (ProgressivelyBalanced(), torch.full((4,), 0.25)),  # where it ends
        (SquareRoot(), COUNTS.sqrt() / COUNTS.sqrt().sum()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_cross_entropy_carries_the_prior_that_its_sampler_shows(sampler: Sampler, expected: torch.Tensor) -> None:
    carried = carried_log_prior(objective(CrossEntropy), sampler, 2)
    torch.testing.assert_close(carried, expected.log(), rtol=0, atol=1e-5)
    assert carried.dtype == torch.float32


def test_a_prior_that_was_corrected_for_and_sampled_away_is_carried_with_the_other_sign() -> None:
    carried = carried_log_prior(objective(LogitAdjusted), ClassBalanced(), 2)
    torch.testing.assert_close(carried + math.log(4), -log_prior(COUNTS).float(), rtol=0, atol=1e-5)


def test_a_class_that_no_sampler_can_show_changes_nothing() -> None:
    counts = torch.tensor([60, 12, 0, 1])
    for sampler in (Shuffled(), ClassBalanced()):
        carried = carried_log_prior(objective(CrossEntropy, counts), sampler, 2)
        assert bool(carried.isfinite().all())
        assert carried[2] == objective(CrossEntropy, counts).carried_log_prior[2]
    shuffled = carried_log_prior(objective(CrossEntropy, counts), Shuffled(), 2)
    assert torch.equal(shuffled, objective(CrossEntropy, counts).carried_log_prior)


@pytest.mark.parametrize("sampler", [ClassBalanced(), SquareRoot(), ProgressivelyBalanced(), EffectiveNumber(0.999)])
@pytest.mark.parametrize("cls", [LogitAdjusted, BCL])
def test_a_balanced_sampler_under_a_prior_corrected_loss_is_warned_of(
    cls: type[Objective], sampler: Sampler, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_double_correction(objective(cls), sampler, 2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith(f"sampler {type(sampler).__name__} balances the classes and {cls.__name__} corrects")


@pytest.mark.parametrize(
    ("made", "sampler"),
    [
        (objective(LogitAdjusted), Shuffled()),
        (objective(LogitAdjusted), EffectiveNumber(0.0)),
        (objective(LogitAdjusted, torch.full((4,), 9)), ClassBalanced()),  # nothing to correct
        (objective(LogitAdjusted, torch.tensor([9, 9, 0])), ClassBalanced()),
        (objective(LogitAdjusted, torch.tensor([9, 3, 0])), Shuffled()),
        (objective(LogitAdjusted, tau=0.0), ClassBalanced()),  # cross-entropy by another name
        (objective(CrossEntropy), ClassBalanced()),
    ],
)
def test_one_correction_is_not_warned_of(made: Objective, sampler: Sampler, capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_double_correction(made, sampler, 2)
    assert capsys.readouterr().err == ""


def test_a_job_says_it_once_and_ships_the_prior_that_it_carries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"epochs": 1, "data.largest": 30, "sampler": "ClassBalanced"}
    run = digits(tmp_path / "ce", **options)
    assert "balances" not in capsys.readouterr().err
    about = run.model().about
    torch.testing.assert_close(torch.tensor(about["carried_log_prior"]), torch.full((10,), -math.log(10)))
    assert about["post_hoc"] == {"Unchanged": {}}
    bare = digits(tmp_path / "la", objective="LogitAdjusted", **options, **{"data.validation": 0})
    assert bare.model().about["calibration"] is None  # nothing was held out
    assert conformal.read(bare.path) is None
    err = capsys.readouterr().err
    assert err.count("sampler ClassBalanced balances the classes and LogitAdjusted corrects for their frequencies") == 1


def test_what_is_held_out_calibrates_the_model_that_is_shipped(done: Run) -> None:
    """The summary is that of the saved network's logits, less the prior that they carry."""
    model = done.model()
    prepared = prepare(parse.build(parse.resolve(parse.read(done.path / "recipe.yaml"), ())).data)
    logits, labels = prepared.validation(model.network)
    free = adjust(logits, torch.tensor(model.about["carried_log_prior"]))
    expected, held = conformal.held_out(free, labels), conformal.read(done.path)
    assert held is not None
    for mine, theirs in zip(held, expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    chosen, losses = calibrate.choose(free, labels)
    calibration = model.about["calibration"]
    assert (calibration["method"], calibration["samples"]) == (chosen.method, len(labels))
    assert calibration["validation_loss"] == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(torch.tensor(calibration["scale"]).double(), chosen.scale, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.full((2, 3), torch.nan), torch.tensor([0, 1])),  # diverged: the judge says so
        (torch.zeros(2, 3), torch.tensor([IGNORE, 2])),  # no label that can be predicted
    ],
)
def test_what_cannot_calibrate_does_not(logits: torch.Tensor, labels: torch.Tensor, done: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(done.path, tmp_path / "run"))
    (run.path / conformal.FILE).unlink()
    assert _calibrated(Validation(logits, labels), torch.zeros(3), torch.tensor([5, 2, 0]), run) is None
    assert conformal.read(run.path) is None


def test_samples_of_absent_classes_calibrate_nothing(done: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(done.path, tmp_path / "run"))
    labels = torch.tensor([0, 1, 0, 1, 2, IGNORE])
    logits = 3 * torch.eye(3)[labels.clamp(min=0)]
    found = _calibrated(Validation(logits, labels), torch.zeros(3), torch.tensor([5, 2, 0]), run)
    assert found is not None
    assert found["samples"] == 4
    held = conformal.read(run.path)
    assert held is not None
    assert held.labels.tolist() == [0, 1, 0, 1]
    assert held.predictions.tolist() == [0, 1, 0, 1]


def test_the_only_epoch_of_a_progressive_sampler_is_its_first() -> None:
    plain = carried_log_prior(objective(CrossEntropy), Shuffled(), 1)
    torch.testing.assert_close(carried_log_prior(objective(CrossEntropy), ProgressivelyBalanced(), 1), plain)
    balanced = carried_log_prior(objective(CrossEntropy), ProgressivelyBalanced(), 2)
    assert not torch.allclose(balanced, plain)
