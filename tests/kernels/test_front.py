"""What `class_lse` refuses, and what it keeps whoever computes: dtypes, NaN, absent keys, autocast, changes in place."""

import pytest
import torch
from torch import Tensor

from tailwise.kernels import class_lse, front
from tailwise.kernels.problem import EMPTY
from tailwise.types import TailwiseError

F64 = torch.float64
LABELS, KEY_LABELS = torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1, 1, 0])
INDEX, KEY_INDEX = torch.tensor([0, 1, 2]), torch.tensor([0, 3, 1, 1, 4])


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


@pytest.fixture(params=[1 << 13, -1], ids=["reference", "streaming"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "SMALL", request.param)


def example(dtype: torch.dtype = torch.float32) -> dict[str, Tensor | float]:
    """Three queries and five keys of two numbers, with gradients."""
    rows = (normal(seed, *shape).to(dtype).requires_grad_() for seed, shape in enumerate([(3, 2), (5, 2), (5,)]))
    return dict(
        zip(("queries", "keys", "bias"), rows, strict=True),
        temperature=0.5, labels=LABELS, key_labels=KEY_LABELS, index=INDEX, key_index=KEY_INDEX,
    )  # fmt: skip


def results(given: dict[str, Tensor | float]) -> list[Tensor]:
    """Sums, and the gradients to queries, keys and bias of the sets that have keys."""
    lse = class_lse(**given)  # type: ignore[arg-type]
    loss = (lse.others + lse.own_class().clamp(min=-1e9)).sum()
    return [*lse, *torch.autograd.grad(loss, [given[name] for name in ("queries", "keys", "bias")])]


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("name", ["keys", "index"])
def test_what_is_changed_in_place_before_the_backward_pass_is_noticed(name: str) -> None:
    """Keys in order are kept as they are given; the reference needs its masks alone of labels and indices."""
    given = example() | {"key_labels": KEY_LABELS.sort().values, "index": INDEX.clone()}
    lse = class_lse(**given)  # type: ignore[arg-type]
    given[name].detach()[0] += 1  # type: ignore[union-attr]
    if name == "keys" or front.SMALL < 0:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            lse.others.sum().backward()


SHAPES = {"queries": (3, 3), "keys": (5, 3), "bias": (4,), "labels": (2,), "key_labels": (4,), "index": (4,), "key_index": (9,)}


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_dtypes_that_do_not_fit_are_refused(name: str) -> None:
    for wrong in (torch.zeros(SHAPES[name]).to(example()[name].dtype), example()[name].bool()):  # type: ignore[union-attr]
        with pytest.raises(TailwiseError, match=r"class_lse: .* give"):
            class_lse(**example() | {name: wrong})  # type: ignore[arg-type]


def test_a_row_alone_and_two_dtypes_are_refused() -> None:
    for wrong in ({"queries": torch.zeros(3)}, {"keys": torch.zeros(5, 2, dtype=F64)}, {"labels": torch.zeros(3)}):
        with pytest.raises(TailwiseError, match=r"class_lse: .* give"):
            class_lse(**example() | wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0, 0.0, -1.0, float("nan"), float("inf"), 1e-30, torch.ones(1), torch.ones(3, 1)])
def test_a_temperature_is_one_positive_number(temperature: Tensor | float) -> None:
    with pytest.raises(TailwiseError, match="class_lse: temperature"):
        class_lse(**example() | {"temperature": temperature})  # type: ignore[arg-type]


@pytest.mark.usefixtures("either")
def test_float16_is_as_wide_as_its_scores_need() -> None:
    """Scores of rows of 10⁴ are 10¹⁰, where float16 ends at 65504; slopes are 10⁴ where it is cold, and no larger."""
    given = example(torch.float16) | {"temperature": 1.0, "queries": torch.tensor([[1e4, -1e4]] * 3).half().requires_grad_()}
    given["keys"] = torch.tensor([[1e4, 1e4], [-1e4, 1e4]] * 2 + [[1e4, -1e4]]).half().requires_grad_()
    assert all(bool(x.isfinite().all()) for x in results(given))
    cold = example(torch.float16) | {"temperature": 1e-5}
    assert all(bool(x.isfinite().all()) for x in class_lse(**cold))  # type: ignore[arg-type]


@pytest.mark.usefixtures("either")
def test_short_integers_are_labels_and_indices() -> None:
    short = {name: example()[name].to(torch.int32) for name in ("labels", "key_index")}  # type: ignore[union-attr]
    assert all(map(torch.equal, results(example() | short), results(example())))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("tile", [1 << 19, 1])
def test_nan_reaches_every_sum_of_its_query_and_no_other(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front.streaming, "TILE", tile)
    queries, keys = torch.randn(2, 3), torch.randn(140, 3)  # two tiles
    labels, index = torch.zeros(2, dtype=torch.int64), torch.arange(2)
    rest = torch.zeros(140), 0.5, labels, torch.arange(140) // 70, index, torch.arange(140) % 7
    expected = class_lse(queries, keys, *rest)
    queries[0] = torch.nan
    for found, right in zip(class_lse(queries, keys, *rest)[:3], expected, strict=False):
        assert found.isnan().tolist() == [True, False]
        assert torch.equal(found[1], right[1])


@pytest.mark.usefixtures("either")
def test_keys_of_bias_minus_infinity_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole tile of them, and all of a class."""
    monkeypatch.setattr(front.streaming, "TILE", 1)  # of 64 keys, then
    queries, keys, labels = normal(0, 2, 3), normal(1, 140, 3), torch.tensor([0, 1])
    bias, key_labels = torch.zeros(140, dtype=F64), torch.arange(140) // 70
    bias[:100] = -torch.inf
    rest = 0.5, labels, key_labels, torch.tensor([7, 8]), torch.arange(140)
    bias.requires_grad_(), queries.requires_grad_()
    lse = class_lse(queries, keys, bias, *rest)
    few = class_lse(queries, keys[100:], bias[100:], 0.5, labels, key_labels[100:], rest[3], torch.arange(100, 140))
    for found, expected in zip(lse[:3], few[:3], strict=True):
        torch.testing.assert_close(found, expected)
    assert lse.own[0].item() == lse.others[1].item() == EMPTY
    lse.others[0].backward()
    assert bias.grad is not None
    assert queries.grad is not None
    assert bool((bias.grad[:100] == 0).all())
    assert bool(queries.grad.isfinite().all())
    assert lse.mean.isfinite().all()


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_are_single_precision_for_half_inputs(dtype: torch.dtype) -> None:
    lse = class_lse(**example(dtype))  # type: ignore[arg-type]
    assert lse.others.dtype == lse.mean.dtype == torch.float32
    assert [x.dtype for x in results(example(dtype))[5:]] == [dtype] * 3


def test_the_reference_rounds_no_score_of_half_inputs() -> None:
    """Products of short numbers are exact in float32."""
    given = example(torch.bfloat16) | {"temperature": 1.0}
    wide = {name: given[name].detach().float() for name in ("queries", "keys", "bias")}  # type: ignore[union-attr]
    assert torch.equal(class_lse(**given).others, class_lse(**given | wide).others)  # type: ignore[arg-type]


@pytest.mark.usefixtures("either")
def test_autocast_around_it_changes_nothing() -> None:
    expected = results(example())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = results(example())
    assert all(map(torch.equal, found, expected))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("wanted", [["queries"], ["keys"], ["bias"], ["queries", "keys"]])
def test_only_the_gradients_that_are_asked_for_are_made(wanted: list[str]) -> None:
    full, given = example(), example()
    for name in {"queries", "keys", "bias"} - {*wanted}:
        given[name] = given[name].detach()  # type: ignore[union-attr]
    grads = [
        torch.autograd.grad(class_lse(**each).others.sum(), [each[name] for name in wanted])  # type: ignore[arg-type]
        for each in (given, full)
    ]
    assert all(map(torch.equal, *grads))
