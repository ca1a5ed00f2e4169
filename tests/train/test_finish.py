"""The prior that a trained model's logits carry, and the warning of a correction that is made twice."""

import math
from pathlib import Path

import pytest
import torch
from tiny import MODELS
from train.jobs import digits

from tailwise.counts import log_prior
from tailwise.data.samplers import ClassBalanced, EffectiveNumber, ProgressivelyBalanced, Sampler, Shuffled, SquareRoot
from tailwise.losses import BCL, CrossEntropy, LogitAdjusted, Objective
from tailwise.train.finish import carried_log_prior, warn_of_double_correction

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
    digits(tmp_path / "la", objective="LogitAdjusted", **options)
    err = capsys.readouterr().err
    assert err.count("sampler ClassBalanced balances the classes and LogitAdjusted corrects for their frequencies") == 1


def test_the_only_epoch_of_a_progressive_sampler_is_its_first() -> None:
    plain = carried_log_prior(objective(CrossEntropy), Shuffled(), 1)
    torch.testing.assert_close(carried_log_prior(objective(CrossEntropy), ProgressivelyBalanced(), 1), plain)
    balanced = carried_log_prior(objective(CrossEntropy), ProgressivelyBalanced(), 2)
    assert not torch.allclose(balanced, plain)
