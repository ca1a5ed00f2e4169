from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tailwise.models import Network, ResNetCifar, build, save
from tailwise.types import TailwiseError


def test_cifar_family() -> None:
    net = build("resnet20")
    assert isinstance(net, ResNetCifar)
    assert net.num_features == 64


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "test_vit"])
def test_timm_models_give_as_many_features_as_they_say(name: str) -> None:
    net = build(name).eval()
    assert net(torch.rand(2, 3, 160, 160)).shape == (2, net.num_features)


@pytest.mark.parametrize(
    ("wrong", "near"), [("resnt50", "resnet50"), ("resnet_32", "resnet32"), ("vit_tny_patch16_224", "vit_tiny_patch16_224")]
)
def test_an_unknown_name_names_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(TailwiseError, match=f"{wrong}: unknown; did you mean {near}"):
        build(wrong)


def test_the_cifar_family_has_no_pretrained_weights() -> None:
    with pytest.raises(TailwiseError, match="no pretrained weights"):
        build("resnet32", "pretrained")


def test_no_network_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def fail(*_: object, **__: object) -> None:
        raise OSError("cannot reach the hub\nmore\nand more")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(TailwiseError, match="pretrained weights could not be had") as caught:
        build("resnet18", "pretrained")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrap", ["bare", "lightning", "parallel", "safetensors"])
def test_weights_from_a_checkpoint(tmp_path: Path, wrap: str) -> None:
    state = ResNetCifar(8).state_dict()
    path = tmp_path / ("w.safetensors" if wrap == "safetensors" else "w.pth")
    if wrap == "safetensors":
        save_file(state, path)
    elif wrap == "bare":
        torch.save(state | {"fc.weight": torch.zeros(10, 64)}, path)
    elif wrap == "lightning":
        torch.save({"epoch": 3, "state_dict": {f"network.backbone.{k}": v for k, v in state.items()}}, path)
    else:
        torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, path)
    loaded = build("resnet8", str(path)).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_weights_from_another_run(tmp_path: Path) -> None:
    first = Network("resnet8", 10)
    save(first, tmp_path, {})
    second = Network("resnet8", 3, weights=str(tmp_path / "model.safetensors"))
    assert torch.equal(second.backbone.stem.weight, first.backbone.stem.weight)  # type: ignore[arg-type,union-attr]


def test_bad_checkpoints_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match="no such checkpoint"):
        build("resnet8", str(tmp_path / "absent.pth"))
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(TailwiseError, match="not a checkpoint"):
        build("resnet8", str(tmp_path / "junk.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(TailwiseError, match="holds a list"):
        build("resnet8", str(tmp_path / "list.pth"))
    torch.save(ResNetCifar(8).state_dict(), tmp_path / "8.pth")
    with pytest.raises(TailwiseError, match="no weights for"):
        build("resnet14", str(tmp_path / "8.pth"))
    state = ResNetCifar(8).state_dict() | {"stem.weight": torch.zeros(16, 3, 5, 5)}
    torch.save(state, tmp_path / "shape.pth")
    with pytest.raises(TailwiseError, match=r"stem\.weight has shape"):
        build("resnet8", str(tmp_path / "shape.pth"))
