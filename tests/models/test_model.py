import copy
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from tailwise.models import Network, Saved, save
from tailwise.models.classifiers import Cosine, Scaled
from tailwise.types import Model, TailwiseError

Kind = Literal["linear", "cosine", "scaled"]


@pytest.mark.parametrize(("classifier", "scale"), [("linear", 1.0), ("cosine", 30.0), ("scaled", 1.0)])
def test_output(classifier: Kind, scale: float) -> None:
    net = Network("resnet8", 7, classifier)
    model: Model = net
    out = model(torch.rand(2, 3, 3, 16, 16))
    assert out.features.shape == (2, 3, 64)
    assert out.logits.shape == (2, 3, 7)
    torch.testing.assert_close(out.classifier, net.classifier.weight)
    assert out.classifier.requires_grad
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


@pytest.mark.parametrize("classifier", ["cosine", "scaled"])
def test_logits_keep_full_precision_under_autocast(classifier: Kind) -> None:
    net = Network("resnet8", 3, classifier)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(torch.rand(1, 4, 3, 8, 8))
    assert out.logits.dtype == out.features.dtype == torch.float32
    torch.testing.assert_close(out.logits, net.classifier(out.features))


@pytest.mark.parametrize("classifier", ["cosine", "scaled"])
def test_config_rebuilds_it(classifier: Kind) -> None:
    config = Network("resnet8", 3, classifier).config
    again = Network(**config)
    assert again.config == config


def trained(classifier: Kind = "linear", backbone: str = "resnet8", classes: int = 3) -> Network:
    torch.manual_seed(1)
    net = Network(backbone, classes, classifier)
    net(torch.rand(2, 4, 3, 8, 8))  # moves the running statistics
    if isinstance(net.classifier, Scaled):
        nn.init.uniform_(net.classifier.scales)
    return net


@pytest.mark.parametrize("kinds", [("linear", "linear"), ("linear", "scaled"), ("scaled", "linear"), ("scaled", "scaled")])
def test_a_stage_starts_with_the_logits_of_the_trained_run(kinds: tuple[Kind, Kind]) -> None:
    first, views = trained(kinds[0]), torch.rand(1, 4, 3, 8, 8)
    second = Network("resnet8", 3, kinds[1])
    second.load_stage(first, classifier=True)
    torch.testing.assert_close(second.eval()(views).logits, first.eval()(views).logits)
    if isinstance(second.classifier, Scaled):
        assert second.classifier.scales.tolist() == [1, 1, 1]


def test_a_stage_of_a_cosine_classifier_leaves_the_correction_behind() -> None:
    first, second = trained("cosine"), Network("resnet8", 3, "cosine")
    views, before = torch.rand(1, 4, 3, 8, 8), first.eval()
    plain = before(views).logits
    first.classifier.shift(torch.tensor([1.0, 2.0, 3.0]))
    second.load_stage(first, classifier=True)
    torch.testing.assert_close(second.eval()(views).logits, plain)


@pytest.mark.parametrize("kinds", [("linear", "linear"), ("cosine", "linear"), ("linear", "cosine")])
def test_a_stage_without_the_classifier_keeps_its_own(kinds: tuple[Kind, Kind]) -> None:
    first, views = trained(kinds[0]), torch.rand(1, 4, 3, 8, 8)
    second = Network("resnet8", 3, kinds[1])
    own = copy.deepcopy(second.classifier.state_dict())
    second.load_stage(first, classifier=False)
    torch.testing.assert_close(second.eval()(views).features, first.eval()(views).features)
    assert all(torch.equal(value, own[name]) for name, value in second.classifier.state_dict().items())


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"backbone": "resnet14"}, {}, "its backbone is resnet14, this one is resnet8"),
        ({"classes": 4}, {}, "its number of classes is 4, this one is 3"),
        ({"classifier": "cosine"}, {}, "a cosine classifier cannot start a linear one"),
        ({}, {"classifier": "cosine"}, "a linear classifier cannot start a cosine one"),
        ({"classifier": "cosine"}, {"classifier": "scaled"}, "a cosine classifier cannot start a scaled one"),
    ],
)
def test_what_does_not_fit_is_one_line(first: dict[str, Any], second: dict[str, Any], message: str) -> None:
    with pytest.raises(TailwiseError, match=message) as caught:
        trained(**second).load_stage(trained(**first), classifier=True)
    assert "\n" not in str(caught.value)


def test_a_frozen_backbone_neither_learns_nor_moves_its_statistics() -> None:
    net = trained()
    before = {name: value.clone() for name, value in net.backbone.state_dict().items()}
    net.freeze()
    net.train()
    assert net.training
    assert net.classifier.training
    assert not any(module.training for module in net.backbone.modules())
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1.0)
    net(torch.rand(2, 4, 3, 8, 8)).logits.square().sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in net.backbone.state_dict().items())
    assert {name for name, p in net.named_parameters() if p.grad is not None} == {"classifier.weight", "classifier.bias"}


def test_a_copy_stays_frozen_and_a_saved_model_does_not(tmp_path: Path) -> None:
    net = trained("scaled")
    keys = set(net.state_dict())
    net.freeze()
    assert set(net.state_dict()) == keys
    assert not copy.deepcopy(net).train().backbone.training
    save(net, tmp_path, {})
    again = Saved(tmp_path).train()
    assert again.network.backbone.training
    assert all(p.requires_grad for p in again.parameters())


def test_a_correction_is_shipped(tmp_path: Path) -> None:
    net, views = trained("cosine"), torch.rand(1, 4, 3, 8, 8)
    assert isinstance(net.classifier, Cosine)
    net.classifier.shift(torch.tensor([1.0, 2.0, 3.0]))
    save(net, tmp_path, {})
    assert torch.equal(Saved(tmp_path).eval()(views).logits, net.eval()(views).logits)
