"""Experts on one trunk: what they share, what their output says, and every objective on them unchanged."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny import batch

from tailwise.losses import BCL, GML, CrossEntropy, LogitAdjusted, Objective
from tailwise.losses.ride import RIDE
from tailwise.losses.sade import SADE
from tailwise.models import Network, build, save
from tailwise.models.classifiers import Cosine, Linear, Scaled
from tailwise.models.experts import Branches, Experts, Mean, network
from tailwise.task import Task
from tailwise.types import ExpertOutput, Model, TailwiseError

VIEWS = torch.rand(2, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Kind = Literal["linear", "cosine", "scaled"]


@pytest.fixture
def experts() -> Experts:
    return Experts("resnet8", 5)


@pytest.mark.parametrize("kind", ["linear", "cosine", "scaled"])
def test_output(kind: Kind) -> None:
    net = Experts("resnet8", 5, kind)
    model: Model = net
    out = model(VIEWS)
    assert isinstance(out, ExpertOutput)
    assert out.per_expert(view=1).shape == (3, 3, 5)
    assert (net.dim, net.classes) == (3 * 64, 5)
    assert out.features.shape == (2, 3, net.dim)
    assert out.classifier.shape == (5, net.dim)
    assert out.scale == (30 if kind == "cosine" else 1)
    torch.testing.assert_close(out.logits[1], out.per_expert(view=1).mean(0))
    for expert, part, features in zip(out.experts, net.classifier.parts, out.features.chunk(3, -1), strict=True):
        torch.testing.assert_close(expert, part(features))


@pytest.mark.parametrize("kind", ["linear", "scaled"])
def test_the_wide_classifier_gives_the_mean_exactly(kind: Kind) -> None:
    net = Experts("resnet8", 5, kind)
    net.classifier.parts[1].shift(torch.arange(5.0))  # type: ignore[operator]
    out = net(VIEWS)
    torch.testing.assert_close(out.logits, out.features @ out.classifier.T + net.classifier.bias)


def test_the_wide_cosine_classifier_gives_the_mean_once_every_part_has_length_one() -> None:
    out = Experts("resnet8", 5, "cosine")(VIEWS)
    features = torch.cat([F.normalize(part, dim=-1) for part in out.features.chunk(3, -1)], -1)
    rows = torch.cat([F.normalize(part, dim=-1) for part in (3 * out.classifier).chunk(3, -1)], -1)
    torch.testing.assert_close(out.logits, 30 * features @ (rows / 3).T)


@pytest.mark.parametrize(("own", "copied"), [(0, 0), (1, 1), (2, 2), (3, 3)])
def test_early_stages_are_shared_and_late_ones_start_afresh(own: int, copied: int) -> None:
    net = Experts("resnet8", 5, own_stages=own)
    widths = (16, 32, 64)
    stages = [sum(p.numel() for p in block.parameters()) for block in build("resnet8").blocks]  # type: ignore[union-attr]
    stem = 3 * 16 * 9 + 2 * widths[0]
    expected = stem + sum(stages) + 2 * sum(stages[3 - copied :]) + 3 * (64 * 5 + 5)
    assert sum(p.numel() for p in net.parameters()) == expected
    for first, *others in zip(*(branch.state_dict().items() for branch in net.backbone.own), strict=True):
        for name, value in others:
            assert name == first[0]
            if "conv" in name:
                assert not torch.equal(value, first[1])


@pytest.mark.parametrize(
    ("name", "own"), [("resnet8", 0), ("resnet14", 1), ("resnet8", 3), ("test_resnet", 1), ("resnet10t", 4)]
)
def test_one_branch_is_the_backbone(name: str, own: int) -> None:
    body, x = build(name).eval(), torch.rand(2, 3, 64, 64)
    branches = Branches([body], own, name).eval()
    assert branches.num_features == body.num_features
    torch.testing.assert_close(branches(x), body(x))


def test_the_experts_of_timm_networks_are_as_wide_as_they_say() -> None:
    net = Experts("test_resnet", 5, experts=2)
    assert net(torch.rand(1, 2, 3, 32, 32)).features.shape == (1, 2, net.dim)


def test_pretrained_weights_reach_every_expert(tmp_path: Path) -> None:
    plain = Network("resnet8", 5)
    save(plain, tmp_path, {})
    net = Experts("resnet8", 5, weights=str(tmp_path / "model.safetensors")).eval()
    expected = plain.eval()(VIEWS).features
    for features in net(VIEWS).features.chunk(3, -1):
        torch.testing.assert_close(features, expected)


@pytest.mark.parametrize("objective", [CrossEntropy, LogitAdjusted, BCL, GML, RIDE, SADE])
def test_objectives_train_all_of_it_unchanged(objective: type[Objective], experts: Experts) -> None:
    task = Task(experts, objective([60, 12, 3, 1, 1], experts))
    for seed in range(2):
        task.zero_grad()
        terms = task(batch("images", objective.views, torch.tensor([0, 3, 1, 0]), seed))
        torch.stack(list(terms.values())).sum().backward()
    for name, p in task.named_parameters():
        if p.requires_grad:
            assert p.grad is not None, name
            assert bool(p.grad.isfinite().all()), name


def test_cross_entropy_of_the_mean_is_that_of_the_mean(experts: Experts) -> None:
    labels = torch.tensor([0, 3, 1, 0])
    given = batch("images", 1, labels)
    loss = Task(experts, CrossEntropy([60, 12, 3, 1, 1], experts))(given)["cls"]
    torch.testing.assert_close(loss, F.cross_entropy(experts(given.views).experts.mean(0)[0], labels))


@pytest.mark.parametrize("kind", ["linear", "cosine", "scaled"])
def test_its_two_files_rebuild_it(tmp_path: Path, kind: Kind) -> None:
    net = network("resnet8", 5, kind, experts=2, own_stages=1).eval()
    save(net, tmp_path, {})
    again = network(**json.loads((tmp_path / "model.json").read_text())["network"]).eval()
    assert again.config == net.config
    assert type(again) is Experts
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(again(VIEWS).logits, net(VIEWS).logits)


def test_one_expert_is_an_ordinary_network() -> None:
    net = network("resnet8", 5, "cosine")
    assert type(net) is Network
    assert type(network(**net.config)) is Network


def test_logits_keep_full_precision_under_autocast() -> None:
    net = Experts("resnet8", 3, "cosine")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(VIEWS)
    assert out.logits.dtype == out.features.dtype == out.experts.dtype == torch.float32
    torch.testing.assert_close(out.experts, net.classifier.each(out.features))


def test_frozen_experts_train_their_classifiers_only(experts: Experts) -> None:
    experts.freeze()
    experts.train()
    assert not any(module.training for module in experts.backbone.modules())
    assert {n.split(".")[0] for n, p in experts.named_parameters() if p.requires_grad} == {"classifier"}


@pytest.mark.parametrize(("first", "second"), [("linear", "linear"), ("linear", "scaled"), ("cosine", "cosine")])
def test_a_second_stage_starts_from_every_expert(first: Kind, second: Kind) -> None:
    trained, net = Experts("resnet8", 5, first).eval(), Experts("resnet8", 5, second).eval()
    net.load_stage(trained, classifier=True)
    torch.testing.assert_close(net(VIEWS).experts, trained(VIEWS).experts)


def test_a_second_stage_may_start_its_classifiers_afresh(experts: Experts) -> None:
    net = Experts("resnet8", 5, "cosine").eval()
    net.load_stage(experts.eval(), classifier=False)
    assert torch.equal(net(VIEWS).features, experts(VIEWS).features)


@pytest.mark.parametrize(
    ("trained", "message"),
    [
        ({"experts": 1}, "number of experts is none, this one is 3"),
        ({"experts": 2}, "number of experts is 2, this one is 3"),
        ({"own_stages": 1}, "own stages is 1, this one is 2"),
        ({"backbone": "resnet14"}, "backbone is resnet14"),
        ({"classifier": "cosine"}, "a cosine classifier cannot start a linear one"),
    ],
)
def test_another_network_cannot_be_its_first_stage(experts: Experts, trained: dict[str, Any], message: str) -> None:
    other = network(**{"backbone": "resnet8", "classes": 5, "experts": 3, **trained})
    with pytest.raises(TailwiseError, match=message) as caught:
        experts.load_stage(other, classifier=True)
    assert "\n" not in str(caught.value)


def parts(kind: type[Linear] | type[Cosine] | type[Scaled]) -> Mean:
    return Mean([kind(4, 3) for _ in range(2)])


@pytest.mark.parametrize("kind", [Linear, Cosine, Scaled])
def test_a_shift_moves_the_mean_and_every_expert(kind: type[Linear]) -> None:
    mean, x, by = parts(kind), torch.randn(2, 5, 6, 8), torch.tensor([0.5, -2.0, 0.0])  # pixels: (V, B, h·w, E·D)
    before, each = mean(x), mean.each(x)
    mean.shift(by)
    torch.testing.assert_close(mean(x), before + by)
    torch.testing.assert_close(mean.each(x), each + by)


@pytest.mark.parametrize("kind", [Linear, Scaled])
def test_rows_and_bias_can_be_assigned(kind: type[Linear]) -> None:
    mean, x, weight, bias = parts(kind), torch.randn(5, 8), torch.randn(3, 8), torch.randn(3)
    mean.assign(weight, bias)
    torch.testing.assert_close(mean.weight, weight)
    torch.testing.assert_close(mean.bias, bias)
    torch.testing.assert_close(mean(x), x @ weight.T + bias)


def test_the_rows_of_cosines_cannot_be_assigned() -> None:
    with pytest.raises(TailwiseError, match="cosine classifier cannot take other rows"):
        parts(Cosine).assign(torch.randn(3, 8), torch.zeros(3))


def test_rows_carry_gradients_to_every_part() -> None:
    mean = parts(Linear)
    mean.weight.square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(bool(p.grad is not None and p.grad.any()) for name, p in mean.named_parameters() if name.endswith("weight"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"experts": 0}, "at least one"),
        ({"own_stages": 4}, "resnet8 has 3 stages that an expert can have of its own, got 4"),
        ({"own_stages": -1}, "got -1"),
        ({"backbone": "test_vit"}, "test_vit has no stages to share"),
    ],
)
def test_what_cannot_be_is_one_clear_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TailwiseError, match=message) as caught:
        Experts(**{"backbone": "resnet8", "classes": 5, **options})
    assert "\n" not in str(caught.value)
