"""Priors: the golden row and the identities of adjustment; estimates against known shares and slow versions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailwise.calibrate import log_shares, vector
from tailwise.counts import absent, log_prior
from tailwise.priors import adjust, bbse, em, estimate, interval, on_simplex, replicates, resamples, worth
from tailwise.types import TailwiseError

COUNTS = torch.tensor([100, 10, 2])
LOGITS = torch.tensor([[2, -1, 0.5], [0.3, 0.8, -0.4], [-1.2, 0.1, 0.7], [0, 0, 0]], dtype=torch.float64)


def test_golden_prediction_at_tau_one() -> None:
    assert LOGITS.argmax(-1).tolist() == [0, 1, 2, 0]
    assert adjust(LOGITS, log_prior(COUNTS)).argmax(-1).tolist() == [2, 2, 2, 2]


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=6), st.integers(0, 999))
def test_adjusted_posterior_is_bayes_rule(counts: list[int], seed: int) -> None:
    """Softmax of adjusted logits = posterior · target / source, normalised, written out per class."""
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, len(counts), generator=g, dtype=torch.float64)
    target = torch.rand(len(counts), generator=g, dtype=torch.float64) + 0.1
    adjusted = adjust(logits, log_prior(torch.tensor(counts)), target.log()).softmax(-1)
    for row in range(3):
        weights = [float(logits[row, c].exp()) * float(target[c]) / counts[c] for c in range(len(counts))]
        expected = torch.tensor(weights, dtype=torch.float64) / sum(weights)
        torch.testing.assert_close(adjusted[row], expected)


def test_the_source_as_target_changes_nothing() -> None:
    prior = log_prior(COUNTS)
    torch.testing.assert_close(adjust(LOGITS, prior, prior), LOGITS)


def test_logits_that_carry_nothing_stay_as_they_are() -> None:
    """Adjusting by what the objective carries is safe after any loss: logit adjustment with τ = 1 carries 0."""
    assert torch.equal(adjust(LOGITS, torch.zeros(3)), LOGITS)


def test_absent_classes_are_never_predicted() -> None:
    counts = torch.tensor([100, 10, 0])
    logits = torch.tensor([[0.0, 0.0, 50.0]])
    assert adjust(logits, log_prior(counts)).argmax(-1).tolist() == [2]
    adjusted = adjust(logits, log_prior(counts), absent=absent(counts))
    assert adjusted.argmax(-1).tolist() == [1]
    assert adjusted[0, 2] == -torch.inf
    assert adjusted.softmax(-1)[0, 2] == 0


def test_shape_and_type_are_those_of_the_logits() -> None:
    pixels = torch.zeros(2, 4, 5, 3, dtype=torch.float32)
    adjusted = adjust(pixels, log_prior(COUNTS))
    assert (adjusted.shape, adjusted.dtype) == (pixels.shape, torch.float32)


def test_mistakes_are_named() -> None:
    with pytest.raises(TailwiseError, match=r"carried prior of shape \(2,\); give one value for each of 3 classes"):
        adjust(LOGITS, torch.zeros(2))
    with pytest.raises(TailwiseError, match="target prior of shape"):
        adjust(LOGITS, torch.zeros(3), torch.zeros(4))
    with pytest.raises(TailwiseError, match="not finite"):
        adjust(LOGITS, torch.tensor([0.0, 0.0, -torch.inf]))
    for value in (torch.nan, torch.inf):
        with pytest.raises(TailwiseError, match="the target prior is NaN or"):
            adjust(LOGITS, torch.zeros(3), torch.tensor([0.0, value, -torch.inf]))
    with pytest.raises(TailwiseError, match="no class is left"):
        adjust(LOGITS, torch.zeros(3), absent=torch.ones(3, dtype=torch.bool))


def world(classes: int, target: torch.Tensor, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, C) that are the exact log likelihoods of Gaussian classes, and labels drawn with shares ``target``."""
    g = torch.Generator().manual_seed(seed)
    means = 2.5 * torch.eye(classes, dtype=torch.float64)
    labels = torch.multinomial(target, n, replacement=True, generator=g)
    x = means[labels] + torch.randn(n, classes, generator=g, dtype=torch.float64)
    return x @ means.T, labels


TRAIN = torch.tensor([0.6, 0.25, 0.1, 0.04, 0.01])


def errors(logits: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor) -> float:
    return float(((logits + shares.log()).argmax(1) != labels).double().mean())


@pytest.mark.parametrize("target", [TRAIN, TRAIN.flip(0), torch.tensor([0.05, 0.05, 0.8, 0.05, 0.05])])
def test_estimated_shares_are_near_the_true_ones_and_lower_the_error(target: torch.Tensor) -> None:
    logits, labels = world(5, target, 2000, 1)
    held_logits, held_labels = world(5, torch.full((5,), 0.2), 1000, 2)
    held, seen = held_logits.argmax(1), logits.argmax(1)
    for found in (em(logits), bbse(held, held_labels, seen.bincount(minlength=5))):
        assert float(found.sum()) == pytest.approx(1)
        assert float((found - target).abs().max()) < 0.05
        for fixed in (torch.full((5,), 0.2), TRAIN):
            if not torch.equal(fixed, target):
                assert errors(logits, labels, found.clamp(min=1e-9)) < errors(logits, labels, fixed)
        assert errors(logits, labels, found.clamp(min=1e-9)) <= errors(logits, labels, target) + 0.005


def test_em_is_the_fixed_point_in_plain_loops_and_the_likeliest() -> None:
    logits, _ = world(3, torch.tensor([0.7, 0.2, 0.1]), 60, 3)
    found = em(logits, torch.tensor([1.0, 1.0, 2.0])).tolist()
    total = [1.0, 1.0, 2.0]
    for row in logits.exp().tolist():
        whole = sum(value * share for value, share in zip(row, found, strict=True))
        total = [t + value * share / whole for t, value, share in zip(total, row, found, strict=True)]
    assert [t / 64 for t in total] == pytest.approx(found, abs=1e-5)
    best = em(logits)
    for other in (best + torch.tensor([0.02, -0.02, 0]), best + torch.tensor([0, 0.01, -0.01])):
        assert (logits.exp() @ best).log().sum() > (logits.exp() @ other).log().sum()


def test_bbse_solves_the_small_problem() -> None:
    """Against the confusion matrix, built and inverted, where the answer lies inside the simplex."""
    target = torch.tensor([0.5, 0.3, 0.2])
    logits, _ = world(3, target, 5000, 4)
    held_logits, labels = world(3, torch.tensor([0.6, 0.3, 0.1]), 900, 5)
    tilt = torch.tensor([3.0, 0.0, -2.0])  # a predictor that mistakes classes for one another unevenly
    predictions, seen = (held_logits + tilt).argmax(1), (logits + tilt).argmax(1).bincount(minlength=3).double()
    confusion = torch.eye(3).double()
    for j, c in zip(predictions.tolist(), labels.tolist(), strict=True):
        confusion[j, c] += 1
    confusion /= confusion.sum(0)
    inverse = torch.linalg.solve(confusion, seen / 5000)
    torch.testing.assert_close(bbse(predictions, labels, seen, ridge=0.0), inverse, rtol=0, atol=1e-4)
    pulled = torch.linalg.solve(confusion.T @ confusion + torch.eye(3), confusion.T @ seen / 5000 + 1 / 3)
    torch.testing.assert_close(bbse(predictions, labels, seen, ridge=1.0), pulled / pulled.sum(), rtol=0, atol=5e-3)


def test_em_far_ahead_ends_where_small_steps_do() -> None:
    """Classes that are hardly told apart: 30,000 plain steps, and what a few hundred with strides give."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(150, 6, generator=g, dtype=torch.float64)
    x[torch.arange(150), torch.randint(0, 4, (150,), generator=g)] += 0.7
    logits, shares = 0.7 * x, torch.full((6,), 1 / 6).double()
    rows, pseudo = logits.exp(), torch.full((6,), 0.5)
    for _ in range(30_000):
        shares = (shares * (rows / (rows @ shares)[:, None]).sum(0) + pseudo) / 153
    torch.testing.assert_close(em(logits, pseudo), shares, rtol=0, atol=1e-5)


def test_replicates_are_what_single_calls_give() -> None:
    logits, _ = world(4, torch.tensor([0.4, 0.3, 0.2, 0.1]), 80, 6)
    held_logits, labels = world(4, torch.full((4,), 0.25), 50, 7)
    held, seen = held_logits.argmax(1), logits.argmax(1).bincount(minlength=4)
    weights, again = resamples(80, 3, 0), resamples(50, 3, 1)
    assert weights.sum(1).tolist() == [80.0] * 3
    assert torch.equal(weights, resamples(80, 3, 0))
    both = em(logits, weights=weights), bbse(held, labels, seen, weights=again)
    for b in range(3):
        rows = weights[b].long()
        torch.testing.assert_close(both[0][b], em(logits.repeat_interleave(rows, 0)), rtol=0, atol=1e-4)
        some = again[b].long()
        alone = bbse(held.repeat_interleave(some), labels.repeat_interleave(some), seen)
        torch.testing.assert_close(both[1][b], alone, rtol=0, atol=1e-4)


SKEWED = torch.tensor([0.4, 0.25, 0.15, 0.08, 0.05, 0.03, 0.02, 0.01, 0.007, 0.003], dtype=torch.float64)
EVEN = torch.full((10,), 0.1).double()


def tail(classes: int, factor: float) -> torch.Tensor:
    shares = factor ** (-torch.arange(classes).double() / (classes - 1))
    return shares / shares.sum()


GUESSES = torch.stack([EVEN, tail(10, 100)])


@pytest.mark.parametrize(("n", "draws"), [(300, 15), (4000, 5)])
@pytest.mark.parametrize("target", [SKEWED, EVEN, tail(10, 100).flip(0)], ids=["skewed", "even", "backward"])
def test_intervals_hold_the_true_shares_as_often_as_they_say(target: torch.Tensor, n: int, draws: int) -> None:
    hits = []
    for seed in range(draws):
        logits, _ = world(10, target, n, 10 + seed)
        low, high = interval(replicates(logits, 1.0, 100, seed), n)
        hits += ((low <= target) & (target <= high)).tolist()
        assert float(high.sum() - low.sum()) < 15 / n**0.5  # and they are not just wide
    assert 0.88 <= sum(hits) / len(hits) <= 1


def test_intervals_of_calibrated_logits_hold_errors_of_the_calibration() -> None:
    """Logits with biases that few held-out samples tell: without `worth`, intervals hold the true share far less often."""
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for seed in range(12):
        bias = 0.5 * torch.randn(10, generator=torch.Generator().manual_seed(seed)).double()
        held, labels = world(10, tail(10, 50), 250, 900 + seed)
        made = vector(held + bias, labels, log_shares(labels, 10))
        logits, _ = world(10, EVEN, 3000, 500 + seed)
        logits = made(logits + bias)
        weight = worth(logits, labels.bincount(minlength=10))
        assert 0.05 < weight < 0.5
        for known in (True, False):
            low, high = interval(replicates(logits, weight if known else 1.0, 60, seed), 3000 * (weight if known else 1))
            hits[known] += ((low <= EVEN) & (high >= EVEN)).tolist()
    assert sum(hits[True]) / 120 > 0.9
    assert sum(hits[False]) / 120 < 0.8


def test_what_an_image_is_worth() -> None:
    logits, _ = world(3, torch.tensor([0.5, 0.3, 0.2]), 200, 0)
    held = torch.tensor([50, 10, 0])
    posterior = (logits + em(logits, torch.full((3,), 0.5)).log()).softmax(1)
    unsure = 1 - sum(float(p) ** 2 for row in posterior for p in row) / 200
    as_good_as = 9 / (1 / 51 + 1 / 11 + 1)
    assert worth(logits, held) == pytest.approx(1 / (1 + 200 * unsure / as_good_as), rel=1e-5)
    assert worth(100 * logits, held) > 0.99  # no doubt about any image: counting them needs no calibration
    assert worth(logits, held * 1000 + 10**6) > 0.99


def test_ends_for_classes_that_no_image_or_one_shows() -> None:
    none, one, many = torch.zeros(50), torch.linspace(1e-5, 0.02, 50), torch.linspace(0.4, 0.5, 50)
    low, high = interval(torch.stack([none, one, many], 1).double(), 100)
    assert low.tolist() == pytest.approx([0, one.quantile(0.025).item(), many.quantile(0.025).item()], abs=1e-6)
    assert float((1 - high[0]) ** 100) == pytest.approx(0.025)  # no image in a hundred: this happens to such a class
    assert high[1:].tolist() == pytest.approx([float(high[0]), many.quantile(0.975).item()], abs=1e-6)


def off(found: torch.Tensor, target: torch.Tensor) -> float:
    return float((found - target).abs().sum() / 2)


def test_the_estimate_approaches_the_truth_with_the_number_of_images() -> None:
    target = torch.tensor([0.02, 0.3, 0.01, 0.2, 0.05, 0.02, 0.2, 0.1, 0.06, 0.04]).double()  # near to no guess
    errors = [off(estimate(world(10, target, n, 1)[0], GUESSES), target) for n in (50, 500, 5000, 50_000)]
    assert errors[0] < 0.2
    assert errors[1] < 0.06
    assert errors[2] < 0.025
    assert errors[3] < 0.008


@pytest.mark.parametrize(("classes", "n"), [(10, 100), (10, 1000), (60, 150)])
def test_it_lowers_the_error_against_both_fixed_choices_and_costs_little_where_one_is_true(classes: int, n: int) -> None:
    train, even = tail(classes, 100), torch.full((classes,), 1 / classes).double()
    guesses, mean = torch.stack([even, train]), {}
    few = torch.full((classes,), 0.1 / (classes - 3)).double()
    few[classes // 2 : classes // 2 + 3] = 0.3
    targets = {"backward": train.flip(0), "three": few, "even": even, "train": train}
    for name, target in targets.items():
        rows = []
        for seed in range(6):
            logits, labels = world(classes, target, n, seed)
            found = estimate(logits, guesses)
            rows.append([errors(logits, labels, shares) for shares in (even, train, found)])
        mean[name] = torch.tensor(rows).mean(0).tolist()
    for name in ("backward", "three"):
        assert mean[name][2] < min(mean[name][:2]) - 0.01, mean
    assert mean["even"][2] < mean["even"][0] + 0.01, mean
    assert mean["train"][2] < mean["train"][1] + 0.01, mean


def test_few_images_stay_near_the_likelier_guess() -> None:
    train = tail(60, 100)
    guesses = torch.stack([torch.full((60,), 1 / 60).double(), train])
    logits, _ = world(60, train, 150, 3)
    assert off(estimate(logits, guesses), train) < 0.1 < 0.2 < off(em(logits), train)
    logits, _ = world(60, train, 2, 0)
    assert off(estimate(logits, train[None]), train) < 0.15


def test_a_class_that_never_occurs_and_one_that_cannot() -> None:
    logits, _ = world(3, torch.tensor([0.5, 0.5, 0.0]), 500, 8)
    assert float(em(logits)[2]) < 0.02
    logits[:, 0] = -torch.inf
    found = em(logits, torch.ones(3))
    assert found[0] == 0
    assert float(found.sum()) == pytest.approx(1)
    assert bool(em(logits, weights=resamples(500, 2, 0)).isfinite().all())
    apart = torch.tensor([[0.0, -800.0], [-800.0, 0.0]])  # the second class is likely in an input that a replicate lacks
    assert em(apart, weights=torch.tensor([[3.0, 0.0], [1.0, 1.0]])).tolist() == [[1, 0], [0.5, 0.5]]


def test_tensors_are_made_where_the_logits_are() -> None:
    """Where another device is the default one, of which nothing can be added to these."""
    logits, labels = world(3, torch.tensor([0.5, 0.3, 0.2]), 50, 0)
    seen, guess, counted = logits.argmax(1), torch.full((1, 3), 1 / 3), torch.ones(2, 50)
    with torch.device("meta"):
        found = [em(logits), em(logits, weights=counted)[0], estimate(logits, guess)]
        found += [bbse(seen, labels, seen.bincount(minlength=3)), on_simplex(logits)[0]]
        ends = interval(logits.softmax(1), worth(logits, labels.bincount(minlength=3)))
    assert all(one.device.type == "cpu" for one in (*found, *ends))


def test_few_samples_and_one_class() -> None:
    assert em(torch.zeros(4, 1)).tolist() == [1.0]
    assert bbse(torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), torch.tensor([7])).tolist() == [1.0]
    one = torch.tensor([[9.0, 0.0, 0.0]])
    assert float(em(one)[0]) > 0.99
    assert em(one, torch.ones(3)).tolist() == pytest.approx([0.5, 0.25, 0.25], abs=1e-3)
    nothing = torch.zeros(0, dtype=torch.int64)
    assert bbse(nothing, nothing, torch.tensor([3, 1]), ridge=0.0).tolist() == pytest.approx([0.75, 0.25], abs=1e-5)


def test_shares_far_from_zero_do_not_overflow() -> None:
    logits, _ = world(3, torch.tensor([0.2, 0.3, 0.5]), 100, 9)
    torch.testing.assert_close(em(logits + 1e4 * torch.arange(100)[:, None]), em(logits), rtol=0, atol=1e-5)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_the_nearest_shares(values: list[float]) -> None:
    row = torch.tensor([values], dtype=torch.float64)
    found = on_simplex(row)[0]
    assert float(found.min()) >= 0
    assert float(found.sum()) == pytest.approx(1)
    for c in range(len(values)):  # nearer than every corner, seen from which the way to the row does not lead back
        corner = torch.eye(len(values), dtype=torch.float64)[c]
        assert float((row[0] - found) @ (corner - found)) <= 1e-9


def test_no_input_and_no_numbers_are_named() -> None:
    with pytest.raises(TailwiseError, match="no input to estimate it from"):
        em(torch.zeros(0, 3))
    with pytest.raises(TailwiseError, match="no input to estimate it from"):
        bbse(torch.tensor([0]), torch.tensor([0]), torch.zeros(3))
    for bad in (torch.nan, -torch.inf):
        with pytest.raises(TailwiseError, match="not finite"):
            em(torch.full((2, 3), bad))
