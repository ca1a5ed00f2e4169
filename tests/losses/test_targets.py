"""Targets on the sphere: the simplex where it fits, a near-optimal spread elsewhere."""

import pytest
import torch
from losses.cases import F64, on_sphere
from torch import Tensor

from tailwise.losses import targets
from tailwise.losses.targets import simplex, spread


def objective(points: Tensor) -> float:
    """mean_i log Σ_{j≠i} e^{t_i·t_j / 0.07}."""
    return (points @ points.T / 0.07).fill_diagonal_(-torch.inf).logsumexp(1).mean().item()


@pytest.mark.parametrize(("classes", "width"), [(1, 1), (1, 3), (2, 1), (4, 3), (4, 9), (100, 128)])
def test_the_simplex_has_equal_angles(classes: int, width: int) -> None:
    cosines = torch.full((classes, classes), -1 / max(classes - 1, 1), dtype=F64).fill_diagonal_(1.0)
    vertices = simplex(classes, width)
    assert vertices.shape == (classes, width)
    torch.testing.assert_close(vertices @ vertices.T, cosines, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("classes", "width"), [(4, 3), (10, 9), (33, 32)])
def test_where_a_simplex_fits_the_search_finds_it(classes: int, width: int) -> None:
    points = spread(classes, width)
    assert objective(points) == pytest.approx(objective(simplex(classes, width)), abs=1e-3)


@pytest.mark.parametrize(("classes", "width", "nearest"), [(12, 3, 0.4473), (6, 3, 1e-3), (8, 4, 1e-3)])
def test_small_known_arrangements(classes: int, width: int, nearest: float) -> None:
    """Icosahedron, octahedron and cross-polytope: the least possible largest cosine between two of them."""
    points = spread(classes, width)
    largest = (points @ points.T).fill_diagonal_(-1.0).max().item()
    assert largest == pytest.approx(nearest, abs=0.03)


def test_a_spread_is_a_function_of_the_seed() -> None:
    torch.manual_seed(1)
    first = spread(20, 4)
    torch.manual_seed(2)
    assert torch.equal(spread(20, 4), first)
    assert not torch.equal(spread(20, 4, seed=1), first)


def test_more_points_than_move_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "BLOCK", 16)
    points = spread(60, 8)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(60, dtype=F64))
    monkeypatch.undo()
    start, best = objective(on_sphere(0, 60, 8)), objective(spread(60, 8))
    assert objective(points) < best + 0.6 * (start - best)


def test_a_line_has_two_unit_points() -> None:
    assert set(spread(5, 1).flatten().tolist()) == {-1.0, 1.0}
