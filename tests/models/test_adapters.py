"""Light fine-tuning: what is trained, that nothing changes at first, and that the merged network is a plain one."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tailwise.models import Network, Saved, build, save
from tailwise.models.adapters import adapt, adaptable, merge, rank, start_from_means
from tailwise.types import Batch, TailwiseError

NAME, SIDE = "test_vit", 160


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network(NAME, 3, "cosine").eval()


def images(n: int = 2) -> torch.Tensor:
    return torch.randn(1, n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("classes", "blocks", "expected"), [(2, 12, 4), (100, 12, 4), (575, 12, 4), (576, 12, 8), (1000, 12, 8), (8142, 12, 64)]
)
def test_the_rank_follows_from_classes_and_blocks(classes: int, blocks: int, expected: int) -> None:
    assert rank(classes, blocks) == expected


@pytest.mark.parametrize(("classes", "least", "most"), [(600, 0.5, 1.0), (1160, 0.5, 1.0), (20, 1.0, 10.0)])  # LEAST for 20
def test_adapters_have_about_as_many_weights_as_the_classifier(classes: int, least: float, most: float) -> None:
    net = Network(NAME, classes, "cosine")
    adapt(net)
    weights = sum(value.numel() for name, value in net.named_parameters() if "lora_" in name)
    assert least < weights / net.classifier.weight.numel() <= most


def test_vision_transformers_of_timm_take_adapters() -> None:
    names = (
        "test_vit",
        "deit3_small_patch16_224.fb_in22k_ft_in1k",
        "resnet18",
        "resnet32",
        "beit_base_patch16_224",
        "nonsense",
    )
    assert [adaptable(name) for name in names] == [True, True, False, False, False, False]


def test_adapters_change_nothing_at_first_and_leave_little_to_train(network: Network) -> None:
    before = network(images()).logits
    adapt(network)
    torch.testing.assert_close(network(images()).logits, before)
    trained = {name for name, value in network.named_parameters() if value.requires_grad}
    assert all("lora_" in name or "norm" in name or name == "classifier.weight" for name in trained)
    assert "backbone.blocks.5.attn.proj.lora_B.default.weight" in trained
    assert "backbone.norm.weight" in trained
    assert not any("patch_embed" in name for name in trained)


def test_the_merged_network_is_the_trained_one_with_plain_weights(network: Network, tmp_path: Path) -> None:
    plain, frozen = list(network.state_dict()), network.backbone.blocks[0].mlp.fc1.weight.clone()  # type: ignore[index,union-attr,operator]
    adapt(network)
    network(images()).logits.square().sum().backward()
    with torch.no_grad():
        for value in network.parameters():
            if value.requires_grad:
                value.sub_(0.1 * F.normalize(torch.ones_like(value), dim=-1) + 0.1 * value.grad)
    trained = network(images()).logits
    assert merge(network) is network
    assert list(network.state_dict()) == plain
    assert torch.equal(network.backbone.blocks[0].mlp.fc1.weight, frozen)  # type: ignore[index,union-attr]
    torch.testing.assert_close(network(images()).logits, trained, atol=1e-4, rtol=1e-4)
    save(network, tmp_path, {})
    torch.testing.assert_close(Saved(tmp_path).eval()(images()).logits, trained, atol=1e-4, rtol=1e-4)


def test_merging_leaves_other_networks_alone() -> None:
    other = Network("resnet8", 3)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    merge(other)
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


def test_rows_start_as_the_mean_direction_of_each_class(network: Network) -> None:
    labels, random = torch.tensor([0, 1, 0, 1]), network.classifier.weight[2].clone()
    views = images(4)
    features = network(views).features[0]
    batches = [Batch(views[:, i : i + 2], labels[i : i + 2], torch.arange(2), torch.arange(2)) for i in (0, 2)]
    network.train()
    start_from_means(network, batches)
    assert network.training
    for c in (0, 1):
        own = torch.stack([f / f.norm() for f, label in zip(features, labels, strict=True) if label == c]).sum(0)
        torch.testing.assert_close(network.classifier.weight[c], own / own.norm(), atol=1e-4, rtol=1e-4)
    assert torch.equal(network.classifier.weight[2], random)  # a class without samples


def test_what_does_not_fit_is_refused(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TailwiseError, match="resnet8 is no vision transformer"):
        adapt(Network("resnet8", 3))
    with pytest.raises(TailwiseError, match="only a cosine classifier"):
        start_from_means(Network("resnet8", 3), [])
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(TailwiseError, match=r"needs peft; install it with `pip install 'tailwise\[adapters\]'`"):
        adapt(network)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_transformers_file_may_hold_a_classifier(tmp_path: Path, suffix: str) -> None:
    import timm
    from safetensors.torch import save_file

    whole, path = timm.create_model(NAME, num_classes=7), tmp_path / f"w.{suffix}"
    save_file(whole.state_dict(), path) if suffix == "safetensors" else torch.save(whole.state_dict(), path)
    loaded = build(NAME, str(path)).state_dict()
    assert "head.weight" not in loaded
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in loaded.items())
