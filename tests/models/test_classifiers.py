import torch
import torch.nn.functional as F

from tailwise.models import Cosine, Linear


def test_linear_is_a_matrix_and_a_bias() -> None:
    layer = Linear(5, 3)
    x = torch.randn(2, 4, 5)
    assert layer.weight.shape == (3, 5)
    assert layer.scale == 1.0
    torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)


def test_cosine_is_the_scaled_cosine() -> None:
    layer = Cosine(5, 3, scale=7.0)
    x = torch.randn(2, 4, 5)
    expected = [[[7 * F.cosine_similarity(f, w, dim=0) for w in layer.weight.detach()] for f in view] for view in x]
    torch.testing.assert_close(layer(x).detach(), torch.tensor(expected))


def test_cosine_ignores_lengths() -> None:
    layer = Cosine(5, 3)
    x = torch.randn(6, 5)
    before = layer(x)
    with torch.no_grad():
        layer.weight.mul_(torch.tensor([[0.1], [1.0], [9.0]]))
    torch.testing.assert_close(layer(x * 4), before)
    assert bool((before.abs() <= 30).all())


def test_cosine_survives_a_zero_feature() -> None:
    layer = Cosine(5, 3)
    x = torch.zeros(1, 5, requires_grad=True)
    layer(x).sum().backward()  # type: ignore[no-untyped-call]
    assert bool(x.grad.isfinite().all())  # type: ignore[union-attr]
