"""Calibration: it finds the distortion that was put in, ignores classes that cannot occur, and stays put without samples."""

import pytest
import torch

from tailwise.calibrate import IDENTITY, Calibration, choose, log_shares, temperature, thinned, turn, vector
from tailwise.types import TailwiseError


def truth(n: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """True log posteriors (n, C) under some prior, and labels drawn from them."""
    g = torch.Generator().manual_seed(seed)
    logits = (2 * torch.randn(n, classes, generator=g, dtype=torch.float64)).log_softmax(1)
    return logits, torch.multinomial(logits.exp(), 1, generator=g)[:, 0]


def loss(calibration: Calibration, logits: torch.Tensor, labels: torch.Tensor) -> float:
    return float(-calibration(logits).gather(1, labels[:, None]).mean())


def test_a_temperature_is_found() -> None:
    logits, labels = truth(4000, 4)
    found = temperature(3 * logits + torch.arange(4000)[:, None], labels, torch.zeros(4))
    assert 1 / float(found.scale) == pytest.approx(3, rel=0.1)
    torch.testing.assert_close(found(3 * logits).exp().sum(1), torch.ones(4000).double())
    near = [loss(Calibration("", torch.tensor(s).double(), torch.tensor(0.0)), 3 * logits, labels) for s in (0.25, 0.45)]
    assert loss(found, 3 * logits, labels) < min(near)


def test_a_scale_and_a_bias_per_class_are_found() -> None:
    logits, labels = truth(6000, 3)
    bias, scale = torch.tensor([1.0, 0.0, -1.0]).double(), torch.tensor([1.0, 1.2, 0.9]).double()
    bent = ((logits - bias) / scale).log_softmax(1)
    found = vector(bent, labels, torch.zeros(3))
    assert loss(found, bent, labels) < loss(temperature(bent, labels, torch.zeros(3)), bent, labels) - 0.05
    assert loss(found, bent, labels) == pytest.approx(loss(IDENTITY, logits, labels), abs=0.02)


@pytest.mark.parametrize("per_class", [(300, 300, 300), (800, 90, 20)])
def test_the_choice_follows_what_held_out_samples_say(per_class: tuple[int, ...]) -> None:
    """Whatever the shares of the samples: what is found stands for a uniform prior."""
    g = torch.Generator().manual_seed(1)
    labels = torch.arange(3).repeat_interleave(torch.tensor(per_class))
    true = 2.5**2 * torch.eye(3)[labels] + 2.5 * torch.randn(len(labels), 3, generator=g)  # Gaussian classes: exact
    kept, losses = choose(3 * true, labels)
    assert 1 / float(kept.scale.mean()) == pytest.approx(3, rel=0.3)
    assert losses["temperature"] < losses["identity"]
    tilt = torch.tensor([3.0, 0.0, -3.0])
    bent, losses = choose(true + tilt, labels)
    assert bent.method == "vector"
    torch.testing.assert_close((bent.bias - bent.bias.mean()).float(), -tilt, rtol=0, atol=1.0)
    assert losses["vector"] < losses["temperature"]


def test_three_samples_change_little_and_none_nothing() -> None:
    logits = torch.tensor([[9.0, 0.0], [0.0, 9.0], [8.0, 0.0]])
    found, _ = choose(logits, torch.tensor([0, 1, 0]))
    assert 0.3 < float(found.scale) < 30
    assert choose(logits[:1], torch.tensor([0])) == (IDENTITY, {})
    assert choose(logits[:0], torch.tensor([], dtype=torch.int64)) == (IDENTITY, {})
    assert choose(logits, torch.tensor([0, 0, 0]))[1] == {}
    assert choose(torch.zeros(5, 1), torch.zeros(5, dtype=torch.int64)) == (IDENTITY, {})


def test_absent_classes_stay_out() -> None:
    logits, labels = truth(600, 4)
    bent = logits + torch.tensor([3.0, 0.0, 0.0, -3.0])
    bent[:, 2] = -torch.inf
    absence = torch.tensor([False, False, True, False])
    found, _ = choose(bent, labels, absence)
    assert found.method == "vector"
    assert (float(found.scale[2]), float(found.bias[2])) == (1, 0)
    calibrated = found(bent)
    assert bool((calibrated[:, 2] == -torch.inf).all())
    assert bool(calibrated[:, [0, 1, 3]].isfinite().all())
    alone, _ = choose(bent[:, [0, 1, 3]][labels != 2], torch.tensor([0, 1, 9, 2])[labels[labels != 2]])
    torch.testing.assert_close(alone(bent[:, [0, 1, 3]]), calibrated[:, [0, 1, 3]], rtol=0, atol=1e-4)


def test_much_data_is_thinned_out_class_by_class() -> None:
    labels = torch.tensor([1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 3])
    kept, shares = thinned(labels, 4, 7)
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert labels[kept].bincount(minlength=4).tolist() == [2, 4, 0, 1]
    assert shares.exp().tolist() == pytest.approx([2 / 7, 4 / 7, 0, 1 / 7])
    assert kept.tolist() != [0, 1, 2, 3, 4, 8, 12]  # not the first ones of the class
    whole, shares = thinned(labels, 4, 100)
    assert whole.tolist() == list(range(13))
    torch.testing.assert_close(shares, log_shares(labels, 4))


def test_of_more_classes_than_samples_fit_all_have_a_share() -> None:
    labels = torch.arange(1000).repeat(2)
    kept, shares = thinned(labels, 1000, 100)
    assert labels[kept].unique().numel() == 100
    assert 300 < float(labels[kept].float().mean()) < 700  # not the first hundred classes
    assert shares.exp().tolist() == pytest.approx([1 / 1000] * 1000)


def test_a_temperature_of_many_classes_is_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first classes are easier than the others, and there are more classes than samples that are read."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(400).repeat_interleave(2)
    logits = 6 * (torch.randn(800, 400, generator=g) + 3 * torch.eye(400)[labels])
    logits[labels >= 60] += 6 * torch.randn(int((labels >= 60).sum()), 400, generator=g)
    monkeypatch.setattr("tailwise.calibrate.AT_ONCE", 60 * 400)
    found, _ = choose(logits, labels)
    best = temperature(logits, labels, torch.zeros(400))
    assert float(found.scale) == pytest.approx(float(best.scale), rel=0.25)
    assert loss(found, logits, labels) < loss(best, logits, labels) + 0.05


def test_shares_and_turns() -> None:
    labels = torch.tensor([2, 0, 2, 2, 0])
    assert turn(labels).tolist() == [0, 0, 1, 2, 1]
    assert log_shares(labels, 4).exp().tolist() == pytest.approx([0.4, 0, 0.6, 0])


def test_a_model_that_diverged_is_named() -> None:
    with pytest.raises(TailwiseError, match="not finite"):
        choose(torch.full((4, 2), torch.nan), torch.tensor([0, 1, 0, 1]))
