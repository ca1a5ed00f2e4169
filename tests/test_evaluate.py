"""The result block: its figures, its JSON, its refusals; and the collection of logits."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score
from torch import Tensor, nn

from tailwise import evaluate, metrics
from tailwise.counts import log_prior
from tailwise.evaluate import collect, correction, judge, observe, predictions, read, result
from tailwise.types import IGNORE, Batch, Output, TailwiseError

CIFAR10_LT_100 = torch.tensor([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])
KEYS = {
    "n_test", "overall", "balanced", "many", "medium", "few", "edges", "classes_in_group", "thirds", "per_class",
    "worst", "harmonic", "geometric", "macro_f1", "ece", "top5", "gap", "post_hoc", "shipped",
}  # fmt: skip


def names(classes: int) -> list[str]:
    return [f"class {c}" for c in range(classes)]


def biased(counts: Tensor, per_class: int = 30) -> tuple[Tensor, Tensor]:
    """Logits of a fair classifier plus the log prior that cross-entropy would have taught it."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(counts.numel()).repeat_interleave(per_class)
    fair = torch.randn(labels.numel(), counts.numel(), generator=g) + 2 * torch.eye(counts.numel())[labels]
    return fair + log_prior(counts).float(), labels


def test_the_block_is_complete_and_agrees_with_sklearn() -> None:
    logits, labels = biased(CIFAR10_LT_100)
    found = judge(logits, labels, CIFAR10_LT_100, names(10))
    guess = logits.argmax(1)
    assert set(found) == KEYS
    assert found["n_test"] == 300
    assert found["overall"] == pytest.approx(accuracy_score(labels, guess))
    assert found["balanced"] == pytest.approx(balanced_accuracy_score(labels, guess))
    assert found["classes_in_group"] == {"many": 8, "medium": 2, "few": 0}
    assert (found["few"], found["ece"]["few"], found["gap"], found["post_hoc"]) == (None, None, None, None)
    top = logits.double().softmax(-1).max(-1)
    assert found["ece"]["all"] == pytest.approx(metrics.ece(*top, labels), abs=1e-12)
    assert found["ece"]["medium"] == pytest.approx(metrics.ece_by_group(*top, labels, CIFAR10_LT_100)["medium"], abs=1e-12)
    assert found["top5"] == pytest.approx(top_k_accuracy_score(labels, logits, k=5, labels=range(10)))
    entry = found["per_class"][3]
    assert (entry["name"], entry["train"], entry["test"]) == ("class 3", 1077, 30)
    assert entry["recall"] == pytest.approx(float((guess[labels == 3] == 3).double().mean()))
    lowest = min(found["per_class"], key=lambda c: float(c["recall"]))
    assert found["worst"] == {"name": lowest["name"], "recall": lowest["recall"]}


def test_what_users_are_told_is_judged_beside_what_the_logits_say() -> None:
    logits, labels = biased(CIFAR10_LT_100)

    def told(part: torch.Tensor) -> torch.Tensor:
        return (part.double() / 3 - log_prior(CIFAR10_LT_100)).log_softmax(-1)

    found = result(read(logits, labels, None, told), CIFAR10_LT_100, names(10))
    probabilities = told(logits).exp()
    assert found["shipped"]["balanced"] == pytest.approx(balanced_accuracy_score(labels, probabilities.argmax(1)))
    assert found["shipped"]["ece"]["all"] == pytest.approx(metrics.ece(*probabilities.max(-1), labels))
    assert found["balanced"] == judge(logits, labels, CIFAR10_LT_100, names(10))["balanced"]
    assert found["post_hoc"] is None


def test_post_hoc_takes_away_the_carried_prior() -> None:
    logits, labels = biased(CIFAR10_LT_100)
    found = judge(logits, labels, CIFAR10_LT_100, names(10), carried_log_prior=log_prior(CIFAR10_LT_100))
    fair = (logits - log_prior(CIFAR10_LT_100)).argmax(1)
    assert set(found["post_hoc"]) == {"overall", "balanced", "many", "medium", "few", "worst"}
    assert found["post_hoc"]["balanced"] == pytest.approx(balanced_accuracy_score(labels, fair))
    assert found["post_hoc"]["medium"] > found["medium"] + 0.3
    assert found["post_hoc"]["few"] is None


def test_the_golden_post_hoc_row() -> None:
    logits = torch.tensor([[2, -1, 0.5], [0.3, 0.8, -0.4], [-1.2, 0.1, 0.7], [0, 0, 0]])
    counts = torch.tensor([100, 10, 2])
    found = judge(logits, torch.tensor([0, 1, 2, 2]), counts, names(3), log_prior(counts))
    assert found["overall"] == 0.75
    assert found["post_hoc"]["overall"] == 0.5  # every prediction is class 2
    assert found["post_hoc"]["few"] == pytest.approx((0 + 1) / 2)  # 10 and 2 samples are few-shot classes
    assert found["post_hoc"]["worst"] == {"name": "class 0", "recall": 0.0}


@pytest.mark.parametrize("carried", [None, torch.zeros(10), torch.full((10,), -2.3)])
def test_no_post_hoc_block_for_a_uniform_carried_prior(carried: Tensor | None) -> None:
    assert judge(*biased(CIFAR10_LT_100), CIFAR10_LT_100, names(10), carried)["post_hoc"] is None


def test_a_class_without_training_samples_is_only_barred_post_hoc() -> None:
    counts = torch.tensor([200, 50, 0])
    logits, labels = torch.tensor([[0.0, 0.0, 9.0], [0.0, 0.0, 9.0]]), torch.tensor([2, 1])
    found = judge(logits, labels, counts, names(3), log_prior(counts))
    assert [c["recall"] for c in found["per_class"]] == [None, 0.0, 1.0]
    assert (found["overall"], found["few"]) == (0.5, 1.0)
    assert (found["post_hoc"]["overall"], found["post_hoc"]["few"], found["post_hoc"]["medium"]) == (0.5, 0.0, 1.0)


def test_gap_is_train_minus_test_recall_by_group() -> None:
    counts = torch.tensor([500, 300, 50, 5])
    labels = torch.tensor([0, 0, 1, 2, 2])  # the few-shot class is not tested
    guess = torch.tensor([0, 1, 1, 0, 0])
    train = torch.tensor([[10, 5, 3, 2], [10, 10, 4, 2], [15, 6, 3, 2]])  # hits, true, predicted
    found = judge(nn.functional.one_hot(guess, 4).float(), labels, counts, names(4), train=train)
    assert found["gap"] == {
        "all": pytest.approx((0.5 - 0.5 + 0.75) / 3),
        "many": pytest.approx((0.5 - 0.5) / 2),
        "medium": pytest.approx(0.75),
        "few": None,
    }


@given(st.data())
def test_the_block_is_json_without_nan(data: st.DataObject) -> None:
    classes, n = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 25))
    counts = torch.tensor(data.draw(st.lists(st.integers(0, 150), min_size=classes, max_size=classes)))
    if not counts.any():
        counts[0] = 1
    a_label = st.one_of(st.just(IGNORE), st.integers(0, classes - 1))
    labels = torch.tensor([classes - 1, *data.draw(st.lists(a_label, min_size=n, max_size=n))])
    logits = torch.randn(n + 1, classes, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    train = counts.expand(3, -1)
    found = judge(logits, labels, counts, names(classes), log_prior(counts), train)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    kept = labels != IGNORE
    assert judge(logits[kept], labels[kept], counts, names(classes), log_prior(counts), train) == found


def test_pixels_are_samples() -> None:
    g = torch.Generator().manual_seed(3)
    logits, labels = torch.randn(2, 3, 4, 5, generator=g), torch.randint(5, (2, 3, 4), generator=g)
    counts = torch.tensor([200, 100, 50, 10, 1])
    assert judge(logits, labels, counts, names(5)) == judge(logits.reshape(-1, 5), labels.reshape(-1), counts, names(5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.tensor([0.5, 0.5])}, "whole-number labels"),
        ({"labels": torch.tensor([0])}, "whole-number labels"),
        ({"labels": torch.tensor([0, 3])}, "label 3 is outside"),
        ({"labels": torch.tensor([IGNORE, IGNORE])}, "no labelled test sample"),
        ({"counts": torch.tensor([5, 5, 5])}, "3 training counts for 2 classes"),
        ({"names": ["a"]}, "1 class names for 2 classes"),
        ({"logits": torch.tensor([[0.0, torch.nan], [0.0, 1.0]])}, "not finite"),
        ({"logits": torch.tensor([[0.0, torch.inf], [0.0, 1.0]])}, "not finite"),
        ({"train": torch.eye(3)}, "training tally"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    given = {"logits": torch.eye(2), "labels": torch.tensor([0, 1]), "counts": torch.tensor([5, 5]), "names": ["a", "b"]}
    judge(**given)
    with pytest.raises(TailwiseError, match=message):
        judge(**(given | change))


def test_logits_in_one_piece_are_read_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = biased(CIFAR10_LT_100)
    shift = correction(log_prior(CIFAR10_LT_100), CIFAR10_LT_100)

    def told(part: torch.Tensor) -> torch.Tensor:
        return part.log_softmax(-1)

    whole = read(logits, labels, shift, told)
    monkeypatch.setattr(evaluate, "AT_ONCE", 70)  # seven rows, of which 300 are no multiple
    for column, again in zip(whole, read(logits, labels, shift, told), strict=True):
        assert column is not None
        assert again is not None
        assert torch.equal(column, again)


class Doubling(nn.Module):
    """A model whose logits show what it was asked: twice the view in eval mode, noise in training."""

    dim = classes = 3

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.BatchNorm1d(3).eval()  # a part that stays in eval while the rest trains
        self.noise = nn.Dropout(0.5)

    def forward(self, views: Tensor) -> Output:
        assert torch.is_inference_mode_enabled()
        logits = self.noise(2 * views)
        return Output(logits=logits, features=views, classifier=torch.eye(3))


def batches(sizes: list[int]) -> list[Batch]:
    g = torch.Generator().manual_seed(0)
    return [Batch(torch.randn(2, b, 3, generator=g), torch.arange(b) % 3, torch.arange(b), torch.arange(b)) for b in sizes]


def test_collect_returns_the_first_views_logits_of_every_batch() -> None:
    given = batches([4, 4, 1])
    logits, labels = collect(Doubling(), given)
    assert torch.equal(logits, torch.cat([2 * b.views[0] for b in given]))
    assert torch.equal(labels, torch.cat([b.labels for b in given]))
    assert not logits.is_inference()  # usable in a graph later


def test_what_is_observed_is_what_the_logits_say() -> None:
    given, counts = batches([4, 4, 1]), torch.tensor([90, 9, 1])
    logits, labels = collect(Doubling(), given)
    seen = observe(Doubling(), given, correction(log_prior(counts), counts))
    assert result(seen, counts, names(3)) == judge(logits, labels, counts, names(3), log_prior(counts))
    assert observe(Doubling(), given).adjusted is None
    found, truth = predictions(Doubling(), given)
    assert torch.equal(found, logits.argmax(-1))
    assert torch.equal(truth, labels)
    assert not seen.confidence.is_inference()


def test_collect_gives_every_module_its_mode_back() -> None:
    model = Doubling()
    collect(model, batches([2]))
    assert (model.training, model.noise.training, model.frozen.training) == (True, True, False)

    def failing() -> Any:
        yield from batches([2])
        raise RuntimeError("unreadable image")

    with pytest.raises(RuntimeError, match="unreadable"):
        collect(model, failing())
    assert (model.training, model.noise.training, model.frozen.training) == (True, True, False)


def test_collect_refuses_an_empty_split() -> None:
    with pytest.raises(TailwiseError, match="the split is empty"):
        collect(Doubling(), [])


def test_what_users_are_told_is_judged_beside() -> None:
    logits, labels = biased(CIFAR10_LT_100)
    own = names(10)

    def told(part: torch.Tensor) -> torch.Tensor:
        return (part / 2 - log_prior(CIFAR10_LT_100)).log_softmax(-1)

    found = result(read(logits, labels, shipped=told), CIFAR10_LT_100, own)
    alone = judge(told(logits), labels, CIFAR10_LT_100, own)
    assert found["shipped"]["ece"] == pytest.approx(alone["ece"])
    assert {key: found["shipped"][key] for key in ("overall", "balanced", "worst")} == {
        key: alone[key] for key in ("overall", "balanced", "worst")
    }
    assert found["balanced"] == judge(logits, labels, CIFAR10_LT_100, own)["balanced"] != found["shipped"]["balanced"]
    assert judge(logits, labels, CIFAR10_LT_100, own)["shipped"] is None
