from typing import Literal

import pytest
import torch
from torch import nn

from tailwise.models import Network
from tailwise.types import Model


@pytest.mark.parametrize(("classifier", "scale"), [("linear", 1.0), ("cosine", 30.0)])
def test_output(classifier: Literal["linear", "cosine"], scale: float) -> None:
    net = Network("resnet8", 7, classifier)
    model: Model = net
    out = model(torch.rand(2, 3, 3, 16, 16))
    assert out.features.shape == (2, 3, 64)
    assert out.logits.shape == (2, 3, 7)
    assert out.classifier is net.classifier.weight
    assert (net.dim, net.classes, out.scale) == (64, 7, scale)
    torch.testing.assert_close(out.logits, net.classifier(out.features))


def test_all_views_share_one_batch_statistic() -> None:
    net = Network("resnet8", 2)
    views = torch.rand(2, 4, 3, 8, 8)
    joint = net(views).features
    torch.testing.assert_close(net(views.reshape(1, 8, 3, 8, 8)).features.reshape(2, 4, 64), joint)
    apart = torch.cat([net(view[None]).features for view in views])
    assert not torch.allclose(apart, joint, atol=1e-3)


def test_images_go_through_channels_last() -> None:
    net = Network("resnet8", 2)
    seen: list[torch.Tensor] = []
    net.backbone.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    net(torch.rand(2, 2, 3, 8, 8))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_feature_rows_need_only_another_backbone() -> None:
    net = Network("resnet8", 2)
    net.backbone = nn.Linear(5, 64)
    assert net(torch.rand(2, 3, 5)).logits.shape == (2, 3, 2)


def test_logits_keep_full_precision_under_autocast() -> None:
    net = Network("resnet8", 3, "cosine")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(torch.rand(1, 4, 3, 8, 8))
    assert out.logits.dtype == out.features.dtype == torch.float32
    torch.testing.assert_close(out.logits, net.classifier(out.features))


def test_config_rebuilds_it() -> None:
    config = Network("resnet8", 3, "cosine").config
    again = Network(**config)
    assert again.config == config
