"""Gaussian clouded logits: golden values on raw cosines, the noise and where it comes from, the carried prior."""

from math import erfc, exp, log, pi, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from losses.cases import F64, GOLDEN_COUNTS, GOLDEN_LOGIT_LABELS, GOLDEN_LOGITS, Logits, compare, logit_problems, normal
from losses.population import pull_at_equal_scores
from tiny import Pixels, Rows, batch
from torch import Tensor
from torch.autograd import gradcheck

from tailwise.losses import cross_entropy
from tailwise.losses.gcl import DRAWS, GCL, cloud_sizes, gaussian_clouded, half_normal
from tailwise.types import Batch, Output, TailwiseError


def on_raw_cosines(
    cosines: Tensor, labels: Tensor, noise: Tensor, counts: Tensor, kappa: float, margin: float, scale: float
) -> list[float]:
    """The paper's form: noise and margin are taken from the cosine, then everything is scaled."""
    n = counts.tolist()
    spread = log(max(n)) - log(min(n))
    sizes = [(log(max(n)) - log(k)) / spread if spread else 0.0 for k in n]
    values = []
    for row, eps, y in zip(cosines.tolist(), noise.tolist(), labels.tolist(), strict=True):
        clouds = [kappa * e * d for e, d in zip(eps, sizes, strict=True)]
        scores = [scale * (c - clouds[j] - (margin if j == y else 0)) for j, c in enumerate(row)]
        top = max(scores)
        values.append(top + log(sum(exp(s - top) for s in scores)) - scores[y])
    return values


@given(logit_problems(), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.1]), st.sampled_from([1.0, 30.0]))
def test_equals_the_loop_on_raw_cosines(problem: Logits, kappa: float, margin: float, scale: float) -> None:
    cosines, noise = problem.logits.tanh(), normal(problem.seed, *problem.logits.shape).abs().clamp(max=1)
    rest = problem.labels, noise, problem.counts, kappa, margin, scale
    compare(gaussian_clouded(scale * cosines, *rest), on_raw_cosines(cosines, *rest))


@pytest.mark.parametrize(("margin", "value"), [(0.0, 2.2026653971), (0.1, 3.9944214807)])
def test_golden(margin: float, value: float) -> None:
    sizes = torch.tensor([0, 0.588592, 1], dtype=F64)
    torch.testing.assert_close(cloud_sizes(GOLDEN_COUNTS), sizes, rtol=0, atol=5e-7)
    logits, noise = 30 * GOLDEN_LOGITS / 4, torch.full((4, 3), 0.25, dtype=F64)
    loss = gaussian_clouded(logits, GOLDEN_LOGIT_LABELS, noise, GOLDEN_COUNTS, 1.0, margin, 30.0).mean()
    assert loss.item() == pytest.approx(value, rel=1e-6)


@given(logit_problems())
def test_no_cloud_and_no_margin_are_cross_entropy(problem: Logits) -> None:
    noise = normal(problem.seed, *problem.logits.shape).abs()
    plain = cross_entropy(problem.logits, problem.labels)
    for clouds, kappa in ((noise, 0.0), (torch.zeros_like(noise), 1.0)):
        rest = problem.labels, clouds, problem.counts, kappa, 0.0, 30.0
        torch.testing.assert_close(gaussian_clouded(problem.logits, *rest), plain)


def test_equal_counts_have_no_clouds() -> None:
    assert cloud_sizes(torch.tensor([7, 7, 7])).tolist() == [0, 0, 0]
    assert cloud_sizes(torch.tensor([0, 1])).tolist() == [0, 0]
    assert cloud_sizes(torch.tensor([7])).tolist() == [0]


def test_gradient() -> None:
    rest = normal(0, 4, 3).abs(), GOLDEN_COUNTS, 0.5, 0.1, 3.0
    gradcheck(lambda f: gaussian_clouded(f, GOLDEN_LOGIT_LABELS, *rest), GOLDEN_LOGITS.clone().requires_grad_())


def test_the_noise_is_a_clipped_half_normal() -> None:
    """With 1/3 the standard deviation: as a variance it would be clipped in 8 % of draws and have a mean of 0.43."""
    drawn = half_normal(torch.arange(100_000))
    assert drawn.min().item() >= 0
    assert drawn.max().item() == 1
    clipped = erfc(3 / sqrt(2))
    assert (drawn == 1).double().mean().item() == pytest.approx(clipped, abs=6e-4)
    assert drawn.mean().item() == pytest.approx(sqrt(2 / pi) / 3 * (1 - exp(-4.5)) + clipped, abs=2e-3)
    assert drawn.median().item() == pytest.approx(0.6745 / 3, abs=2e-3)


def cloud(objective: GCL, model: Rows | Pixels, given_batch: Batch) -> Tensor:
    return objective.noise(model(given_batch.views).at_labels().flatten(0, -2), given_batch)


def test_the_noise_follows_from_key_class_and_place() -> None:
    model, labels = Pixels(3), torch.zeros(4, 8, 8, dtype=torch.int64)
    objective, given_batch = GCL(GOLDEN_COUNTS, model), batch("pixels", 1, labels)
    state = torch.get_rng_state()
    drawn = cloud(objective, model, given_batch)
    assert torch.equal(torch.get_rng_state(), state)
    assert drawn.shape == (4 * 8 * 8, 3)
    assert drawn.unique().numel() >= drawn.numel() - 5  # all different but for the few that are clipped
    turned = Batch(given_batch.views.flip(1), labels, given_batch.index.flip(0), given_batch.key.flip(0))
    torch.testing.assert_close(cloud(objective, model, turned).view(4, 64, 3).flip(0), drawn.view(4, 64, 3), rtol=0, atol=0)


def test_images_and_single_pixels_have_the_same_noise() -> None:
    objective, rows = GCL(GOLDEN_COUNTS, Rows(3)), batch("rows", 1, torch.tensor([0, 1, 2]))
    logits = Rows(3)(rows.views).at_labels()
    as_pixels = rows._replace(labels=rows.labels[:, None, None])
    assert torch.equal(objective.noise(logits, as_pixels), objective.noise(logits, rows))


def test_the_noise_is_for_training_only() -> None:
    model, given_batch = Rows(3), batch("rows", 1, torch.tensor([0, 1, 2]))
    objective, out = GCL(GOLDEN_COUNTS, model), model(given_batch.views)
    clouds = cloud(objective, model, given_batch)
    expected = gaussian_clouded(out.logits[0], given_batch.labels, clouds, GOLDEN_COUNTS, 0.5, 0.0, 1.0).mean()
    torch.testing.assert_close(objective(out, given_batch), {"cls": expected})
    plain = cross_entropy(out.logits[0], given_batch.labels).mean()
    assert not torch.allclose(expected, plain)
    torch.testing.assert_close(objective.eval()(out, given_batch), {"cls": plain})


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_carried_prior_where_scores_are_equal(scale: float) -> None:
    model, given_batch = Rows(3), batch("rows", 1, torch.tensor([0, 1, 2]))
    out, objective = model(given_batch.views), GCL(GOLDEN_COUNTS, model, kappa=0.7)
    objective(Output(out.logits, out.features, out.classifier, scale), given_batch)
    noise = half_normal(torch.arange(DRAWS)[:, None], torch.arange(3))

    def mean_over_clouds(scores: Tensor, labels: Tensor) -> Tensor:
        rows = scores.repeat_interleave(DRAWS, 0), labels.repeat_interleave(DRAWS)
        clouds = noise.repeat(len(labels), 1)
        return gaussian_clouded(*rows, clouds, GOLDEN_COUNTS, 0.7, 0.0, scale).view(-1, DRAWS).mean(1)

    pull = pull_at_equal_scores(mean_over_clouds, objective.log_prior, objective.carried_log_prior)
    torch.testing.assert_close(pull, torch.zeros_like(pull), rtol=0, atol=1e-6)


def test_without_clouds_the_scores_carry_the_prior() -> None:
    carried = GCL([6, 3, 1], Rows(3), kappa=0.0).carried_log_prior
    torch.testing.assert_close(carried.exp(), torch.tensor([0.6, 0.3, 0.1]))
    extreme = GCL([10**9, 0, 1], Rows(3), kappa=1e6).carried_log_prior
    assert bool(extreme.isfinite().all())


@pytest.mark.parametrize("options", [{"kappa": -0.1}, {"margin": -0.1}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(TailwiseError, match="GCL: kappa and margin"):
        GCL([3, 2], Rows(2), **options)
