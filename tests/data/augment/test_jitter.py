"""Colour jitter, gray and blur: each picture as torchvision makes it from the numbers drawn for it."""

import pytest
import torch
from scipy.stats import chi2, kstest
from torch import Tensor
from torchvision.transforms.v2 import functional

from tailwise import rng
from tailwise.data.augment import Blur, Gray, Jitter, Step, colour

N = 2000


def _draws(step: Step, n: int) -> Tensor:
    return rng.uniform(4, torch.arange(step.draws)[:, None], torch.arange(n))


@pytest.mark.parametrize("step", [Jitter(0.4, 0.1, 0.8), Jitter(0.9, 0), Jitter(0.2, 0.5)])
def test_a_jitter_is_torchvisions_operations_in_the_drawn_order(pictures: Tensor, step: Jitter) -> None:
    u = _draws(step, len(pictures))
    out, left = step(pictures, u), 0
    order, factor, before, shift = step.drawn(u)
    blends = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
    for i in range(len(pictures)):
        expected, jittered = pictures[i], bool(u[-1, i] < step.share)
        for turn in range(4 * jittered):
            if turn == before[i] and step.hue:
                expected = functional.adjust_hue(expected, float(shift[i]))
            if turn < 3:
                expected = blends[order[i, turn]](expected, float(factor[i, turn]))
        left += not jittered
        # A level that hue gets differently may be stretched by what follows
        difference = (out[i].int() - expected.int()).abs()
        assert int(difference.max()) <= (4 if step.hue else 0)
        assert float((difference > 0).float().mean()) < 2e-3
        assert torch.equal(step(pictures[i : i + 1], u[:, i : i + 1])[0], out[i])
    assert (left > 0) == (step.share < 1)


def test_what_a_jitter_draws() -> None:
    """As torchvision: any of 24 orders, factors in 1 ± strength, shifts in ± hue, each uniform."""
    step = Jitter(0.4, 0.1)
    order, factor, before, shift = step.drawn(_draws(step, N))
    which = (order[:, 0] * 3 + order[:, 1]) * 4 + before
    counts = which.unique(return_counts=True)[1].double()
    assert len(counts) == 24
    assert chi2.sf(float(((counts - N / 24) ** 2).sum() / (N / 24)), 23) > 1e-3
    for turn in range(3):
        assert kstest(factor[:, turn], "uniform", (0.6, 0.8)).pvalue > 1e-3
    assert kstest(shift, "uniform", (-0.1, 0.2)).pvalue > 1e-3
    assert float(Jitter(1.5, 0).drawn(_draws(step, N))[1].min()) == 0


def test_gray_and_blur_hit_their_share_and_leave_the_rest(pictures: Tensor) -> None:
    some = pictures[:1].expand(N, -1, -1, -1)
    for step in (Gray(0.2), Blur(0.2)):
        u = _draws(step, N)
        u[1:] = 0.9  # a weak blur changes nothing
        changed = (step(some, u) != some).flatten(1).any(1)
        assert 330 < int(changed.sum()) < 470
        assert torch.equal(changed, u[0] < 0.2)
    assert torch.equal(Gray(1)(pictures, torch.zeros(1, len(pictures))), colour.gray(pictures))


@pytest.mark.parametrize("step", [Jitter(0.4, 0.1, 0), Gray(0), Blur(0)])
def test_nobody_chosen(pictures: Tensor, step: Step) -> None:
    assert torch.equal(step(pictures, _draws(step, len(pictures))), pictures)


def test_blur_draws_its_strength(pictures: Tensor) -> None:
    u = torch.stack([torch.zeros(len(pictures)), torch.linspace(0, 1, len(pictures))])
    assert torch.equal(Blur(1)(pictures, u), colour.blur(pictures, 0.1 + 1.9 * u[1], 3))
