import pytest
import torch
import torch.nn.functional as F

from tailwise.models.classifiers import Cosine, Linear, Scaled

SHIFT = torch.tensor([0.5, -2.0, 0.0])


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


def test_the_bias_of_a_cosine_is_zero_saved_and_never_trained() -> None:
    layer = Cosine(5, 3)
    assert layer.bias.tolist() == [0, 0, 0]
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert set(layer.state_dict()) == {"weight", "bias"}


def test_a_cosine_saved_without_a_bias_is_read_with_zero() -> None:
    layer = Cosine(5, 3)
    layer.shift(SHIFT)
    layer.load_state_dict({"weight": torch.ones(3, 5)})
    assert layer.bias.tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="weight"):
        layer.load_state_dict({"bias": torch.ones(3)})


def trained_scaled() -> Scaled:
    layer = Scaled(5, 3)
    with torch.no_grad():
        layer.scales.copy_(torch.tensor([2.0, -0.5, 0.0]))
    return layer


@pytest.mark.parametrize("layer", [Linear(5, 3), Cosine(5, 3), trained_scaled()], ids=["linear", "cosine", "scaled"])
def test_a_shift_moves_every_logit_by_itself(layer: Linear | Cosine | Scaled) -> None:
    x = torch.randn(2, 4, 5)
    before = layer(x)
    layer.shift(SHIFT.double())
    torch.testing.assert_close(layer(x), before + SHIFT)


@pytest.mark.parametrize("layer", [Linear(5, 3), trained_scaled()], ids=["linear", "scaled"])
def test_assigned_weight_and_bias_are_those_of_the_logits(layer: Linear | Scaled) -> None:
    x, weight = torch.randn(2, 4, 5), torch.randn(3, 5)
    layer.assign(weight, SHIFT)
    torch.testing.assert_close(layer(x), x @ weight.T + SHIFT)
    torch.testing.assert_close((layer.weight, layer.bias), (weight, SHIFT), check_stride=False)


def test_scaled_multiplies_rows_and_bias_and_trains_the_scales_alone() -> None:
    layer, plain = Scaled(5, 3), Linear(5, 3)
    layer.assign(plain.weight, plain.bias)
    x = torch.randn(4, 5)
    assert layer.scale == 1.0
    torch.testing.assert_close(layer(x), plain(x))  # scales start at 1
    with torch.no_grad():
        layer.scales.copy_(torch.tensor([2.0, 1.0, 0.5]))
    torch.testing.assert_close(layer(x), plain(x) * layer.scales)
    torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)
    assert [name for name, _ in layer.named_parameters()] == ["scales"]


def test_the_rows_of_scaled_are_in_the_graph_of_its_scales() -> None:
    layer = Scaled(5, 3)
    layer.weight.sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(layer.scales.grad, layer.frozen_weight.sum(1))
