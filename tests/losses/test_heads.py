"""Projection heads: unit rows of any leading shape, and batch statistics that survive a batch of one."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from worlds import together

from tailwise import distributed
from tailwise.losses.heads import SHORT, NonNegativeProjection, Projection, RowNorm, SharedRowNorm, unit
from tailwise.types import TailwiseError


@pytest.mark.parametrize("leading", [(5,), (2, 3), (2, 3, 4), (1,), (0,)])
def test_rows_of_any_leading_axes_become_unit_rows(leading: tuple[int, ...]) -> None:
    rows = Projection(6, 4)(torch.randn(*leading, 6))
    assert rows.shape == (*leading, 4)
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(leading))


def test_leading_axes_do_not_matter() -> None:
    head, x = Projection(6, 4, hidden=9), torch.randn(2, 5, 6)
    torch.testing.assert_close(head(x).flatten(0, 1), head(x.flatten(0, 1)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("autocast", [None, torch.float16, torch.bfloat16])
def test_rows_may_be_of_any_precision(dtype: torch.dtype, autocast: torch.dtype | None) -> None:
    """Rows whose sums float16 cannot hold; autocast to it leaves the layers in float32."""
    head, x = Projection(256, 4), torch.full((3, 256), 3e4, dtype=dtype).mul_(torch.tensor([[1], [-1], [1]])).requires_grad_()
    with torch.autocast("cpu", dtype=autocast or torch.bfloat16, enabled=autocast is not None):
        rows = head(x)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(3))
    rows[:, 0].sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


def test_layers_of_float16_are_refused() -> None:
    with pytest.raises(TailwiseError, match="Projection: float16 overflows in its layers"):
        Projection(6, 4).half()(torch.ones(2, 6).half())


def test_a_row_of_zeros_has_a_bounded_slope() -> None:
    rows = torch.zeros(2, 3, requires_grad=True)
    unit(rows).sum().backward()
    assert rows.grad is not None
    assert float(rows.grad.abs().max()) <= 1 / SHORT * (1 + 1e-6)
    torch.testing.assert_close(unit(torch.full((2, 3), 1e-3)).norm(dim=1), torch.ones(2))


def test_the_norm_is_a_choice() -> None:
    assert not list(Projection(6, 4, norm=lambda _: nn.Identity()).buffers())
    assert isinstance(Projection(6, 4, hidden=9, norm=nn.LayerNorm).layers[1], nn.LayerNorm)


def test_half_precision_rows_are_normalised_in_single() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rows = Projection(6, 4)(torch.randn(5, 6))
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(5))


def test_batch_statistics_are_those_of_batch_norm() -> None:
    ours, theirs, x = RowNorm(3), nn.BatchNorm1d(3), torch.randn(4, 3)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_for_statistics_use_the_running_ones(rows: int) -> None:
    norm = RowNorm(3)
    norm(torch.randn(8, 3) + 2)
    before, x = {k: v.clone() for k, v in norm.state_dict().items()}, torch.randn(rows, 3)
    trained = norm(x)
    torch.testing.assert_close(norm.state_dict(), before)
    torch.testing.assert_close(trained, norm.eval()(x))
    trained.sum().backward()
    assert norm.weight.grad is not None


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # each forked process runs one thread
@pytest.mark.parametrize("rows", [0, 1, 2, 9])
def test_shared_statistics_are_those_of_all_rows(rows: int, tmp_path: Path) -> None:
    """Also where one of two ranks has no row: values, gradients of inputs and parameters, running statistics."""
    generator = torch.Generator().manual_seed(rows)
    x, pull = (torch.randn(rows, 3, generator=generator, dtype=torch.float64) + 5 for _ in range(2))

    def of(norm: RowNorm, part: slice) -> list[Tensor]:
        given = x[part].clone().requires_grad_()
        seen = norm.double()(given)
        (seen * pull[part]).sum().backward()
        assert given.grad is not None
        parameters = [distributed.global_sum(p.grad) for p in norm.parameters() if p.grad is not None]
        return [seen.detach(), given.grad, *parameters, *norm.buffers()]

    values, gradients, *others = of(RowNorm(3), slice(None))
    for rank, (seen, gradient, *same) in enumerate(
        together(2, tmp_path, lambda: of(SharedRowNorm(3), (slice(2), slice(2, None))[distributed.rank()]))
    ):
        part = (slice(2), slice(2, None))[rank]
        torch.testing.assert_close(seen, values[part])
        torch.testing.assert_close(gradient, gradients[part])
        torch.testing.assert_close(same, others)


def test_alone_a_shared_norm_is_a_row_norm() -> None:
    ours, theirs, x = SharedRowNorm(3), RowNorm(3), torch.randn(5, 3)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_the_non_negative_projection_ends_in_relu() -> None:
    rows = torch.tensor([[3.0, -1.0, 4.0], [-2.0, 5.0, -1.0]])
    expected = torch.tensor([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(NonNegativeProjection(6, 3).onto_sphere(rows), expected)


@pytest.mark.parametrize("dead", [[-1.0, -3.0, -2.0], [0.0, 0.0, 0.0], [-1e30, -1e30, 1e-30], [-100.0, -300.0, -200.0]])
def test_a_dead_row_is_still_a_unit_row_with_a_finite_gradient(dead: list[float]) -> None:
    rows = torch.tensor([dead, [1.0, 2.0, 3.0]], requires_grad=True)
    unit = NonNegativeProjection(6, 3).onto_sphere(rows)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(2))
    assert bool((unit >= 0).all())
    unit[:, 0].sum().backward()
    assert rows.grad is not None
    assert bool(rows.grad.isfinite().all())


def test_the_gradient_of_a_dead_row_raises_what_the_loss_asks_for() -> None:
    rows = torch.tensor([[-1.0, -0.5, -2.0]], requires_grad=True)
    NonNegativeProjection(6, 3).onto_sphere(rows)[0, 2].backward()
    assert rows.grad is not None
    assert (rows.grad > 0).tolist() == [[False, False, True]]
