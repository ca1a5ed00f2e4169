import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tailwise.models import ResNetCifar
from tailwise.models.resnet_cifar import DEPTHS, Block
from tailwise.types import TailwiseError


@pytest.mark.parametrize("depth", DEPTHS)
def test_depth_counts_the_layers_with_weights(depth: int) -> None:
    convolutions = [m for m in ResNetCifar(depth).modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) + 1 == depth  # the classifier is the last layer


def test_parameters_of_the_paper() -> None:
    """Table 6 of the paper: 0.27 M, 0.46 M, 0.66 M, 0.85 M and 1.7 M parameters, classifier included."""
    for depth, millions in ((20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.73)):
        parameters = sum(p.numel() for p in ResNetCifar(depth).parameters()) + 650
        assert parameters == pytest.approx(millions * 1e6, abs=6e3)


@pytest.mark.parametrize("side", [8, 9, 28, 32, 40])
def test_any_side_from_eight(side: int) -> None:
    assert ResNetCifar(8)(torch.rand(2, 3, side, side)).shape == (2, 64)


def test_shortcut_subsamples_and_pads_channels_with_zeros() -> None:
    block = Block(16, 32, 2).eval()
    nn.init.zeros_(block.conv2.weight)  # the residual is the norm's shift: zero
    x = torch.randn(2, 16, 6, 6)
    y = block(x)
    assert torch.equal(y[:, 8:24], F.relu(x[:, :, ::2, ::2]))
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


def test_features_are_the_mean_over_places() -> None:
    net = ResNetCifar(8).eval()
    x = torch.rand(2, 3, 16, 16)
    maps = net.blocks(F.relu(net.norm(net.stem(x))))
    assert maps.shape == (2, 64, 4, 4)
    torch.testing.assert_close(net(x), F.adaptive_avg_pool2d(maps, 1).flatten(1))


@pytest.mark.parametrize("depth", [2, 18, 31])
def test_other_depths_are_refused(depth: int) -> None:
    with pytest.raises(TailwiseError, match="6n"):
        ResNetCifar(depth)
