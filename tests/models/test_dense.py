"""Networks for pixels: what every decoder gives, how cells lie on pixels, stages, files and mistakes."""

import copy
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise.models import DenseNetwork, Network, Saved, build, network, save
from tailwise.teacher import Ema
from tailwise.types import DenseOutput, Model, TailwiseError

DECODERS = ["upernet", "deeplabv3plus", "fpn", "unet"]
VIEWS = torch.randn(2, 2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def dense(
    decoder: str = "fpn", classifier: Literal["linear", "cosine", "scaled"] = "linear", weights: str = "none", width: int = 64
) -> DenseNetwork:
    torch.manual_seed(0)
    return DenseNetwork(decoder, "test_resnet", 5, classifier, weights, width)


@pytest.mark.parametrize(
    ("decoder", "dim", "cell"), [("upernet", 64, 4), ("deeplabv3plus", 64, 4), ("fpn", 32, 4), ("unet", 4, 1)]
)
def test_output_and_gradients(decoder: str, dim: int, cell: int) -> None:
    net = dense(decoder)
    model: Model = net
    out = model(VIEWS)
    assert isinstance(out, DenseOutput)
    assert (model.dim, model.classes, net.backbone.cell) == (dim, 5, cell)
    assert out.features.shape == (2, 2, 64 // cell, 96 // cell, dim)
    assert out.logits.shape == (2, 2, 64 // cell, 96 // cell, 5)
    assert out.classifier.shape == (5, dim)
    assert out.features.is_contiguous()
    assert out.logits.is_contiguous()
    assert out.at_labels(1).shape == (2, 64, 96, 5)
    torch.testing.assert_close(out.logits, out.features @ out.classifier.T + net.classifier.bias)
    out.at_labels().square().sum().backward()  # type: ignore[no-untyped-call]
    assert [name for name, value in net.named_parameters() if value.grad is None] == []


def test_the_default_width_is_the_one_of_the_library() -> None:
    import segmentation_models_pytorch as smp

    for decoder, theirs in zip(DECODERS, (smp.UPerNet, smp.DeepLabV3Plus, smp.FPN, smp.Unet), strict=True):
        wanted = {
            name: value.shape for name, value in theirs("tu-test_resnet", encoder_weights=None).decoder.state_dict().items()
        }
        got = DenseNetwork(decoder, "test_resnet", 5).backbone.decoder.state_dict()
        assert {name: value.shape for name, value in got.items()} == wanted


def test_norms_see_all_views_in_one_pass() -> None:
    net = dense("upernet")
    net(VIEWS)
    apart = dense("upernet")
    apart(VIEWS[:1])
    apart(VIEWS[1:])
    key = "backbone.decoder.fusion_block.1.num_batches_tracked"
    assert (net.state_dict()[key], apart.state_dict()[key]) == (1, 2)


@pytest.mark.parametrize("kind", ["linear", "cosine", "scaled"])
def test_logits_are_float32_under_autocast(kind: Literal["linear", "cosine", "scaled"]) -> None:
    net = dense(classifier=kind).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(VIEWS)
    assert (out.features.dtype, out.logits.dtype) == (torch.float32, torch.float32)
    assert torch.equal(out.logits, net.classifier(out.features))
    assert out.scale == (30 if kind == "cosine" else 1)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("size", [(60, 84), (33, 50), (5, 97)])
def test_any_size_is_the_extended_picture_cut_to_the_image(decoder: str, size: tuple[int, int]) -> None:
    net, (height, width) = dense(decoder).eval(), size
    images = VIEWS[..., :height, :][..., torch.arange(width).clamp(max=VIEWS.shape[-1] - 1)]
    sides = (0, -width % net.backbone.multiple, 0, -height % net.backbone.multiple)
    extended = F.pad(images.flatten(0, 1), sides, mode="replicate").unflatten(0, (2, 2))
    out, whole = net(images), net(extended)
    cell = net.backbone.cell
    rows, columns = -(-height // cell), -(-width // cell)
    torch.testing.assert_close(out.features, whole.features[:, :, :rows, :columns])
    assert out.size == size
    full = out.at_labels()
    assert full.shape == (2, height, width, 5)
    # away from the last cells, which have no neighbour beyond, every pixel is that of the extended picture
    inner = (slice(None), slice(max((rows - 1) * cell, 0)), slice(max((columns - 1) * cell, 0)))
    torch.testing.assert_close(full[inner], whole.at_labels()[inner])


def test_a_cell_covers_four_by_four_pixels() -> None:
    marked = torch.zeros(1, 1, 9, 13, 2)
    marked[0, 0, 8, 12] = 1  # the last cell of 33 × 50 pixels, which reaches three rows and two columns beyond
    out = DenseOutput(marked, marked, torch.eye(2), size=(33, 50), covered=(36, 52))
    full = out.at_labels()
    assert full.shape == (1, 33, 50, 2)
    torch.testing.assert_close(full[0, 32, 49], torch.full((2,), 0.625 * 0.875))  # (32.5 / 4 − 7.5) (49.5 / 4 − 11.5)
    nine = DenseOutput(marked, marked, torch.eye(2), size=(36, 52)).at_labels()
    assert torch.equal(full, nine[:, :33, :50])


def test_samples_find_the_cell_of_a_pixel() -> None:
    for side in range(1, 600):
        cells = -(-side // 4)
        off = [y * cells // side - y // 4 for y in range(side)]
        assert set(off) <= ({0} if side % 4 == 0 else {0, 1})


@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet"])
def test_other_families_take_the_weights_of_their_backbone(name: str) -> None:
    net = DenseNetwork("fpn", name, 2, width=64)
    assert net(VIEWS).logits.shape == (2, 2, 16, 24, 2)


def test_swin_takes_any_shape() -> None:
    net = DenseNetwork("upernet", "swin_tiny_patch4_window7_224", 2, width=64).eval()
    with torch.no_grad():
        assert net(VIEWS[:1, :1, :, :60]).logits.shape == (1, 1, 15, 24, 2)


def test_weights_from_a_checkpoint_and_from_a_classifier_of_images(tmp_path: Path) -> None:
    plain = Network("test_resnet", 7)
    save(plain, tmp_path, {})
    torch.save(build("test_convnext").state_dict(), tmp_path / "convnext.pth")
    path = str(tmp_path / "model.safetensors")
    given = plain.backbone.state_dict()
    taken = dense(weights=path).backbone.encoder.model.state_dict()
    assert len(taken) > 20
    assert all(torch.equal(value, given[name]) for name, value in taken.items())
    with pytest.raises(TailwiseError, match=r"model\.safetensors: no weights for"):
        DenseNetwork("fpn", "test_convnext", 2, weights=path)
    kept = DenseNetwork("fpn", "test_convnext", 2, weights=str(tmp_path / "convnext.pth"), width=64).backbone.encoder.model
    state = torch.load(tmp_path / "convnext.pth", weights_only=True)
    torch.testing.assert_close(kept.state_dict()["stages_0.blocks.0.conv_dw.weight"], state["stages.0.blocks.0.conv_dw.weight"])


def test_no_network_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def fail(*_: object, **__: object) -> None:
        raise OSError("cannot reach the hub\nmore and more")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(TailwiseError, match=r"^model test_resnet: pretrained weights could not be had[^\n]*$"):
        dense(weights="pretrained")


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_a_saved_network_and_a_teacher_say_the_same(tmp_path: Path, kind: Literal["linear", "cosine"]) -> None:
    net = dense("upernet", kind)
    net(VIEWS)
    net.eval()
    expected = net(VIEWS).logits
    save(net, tmp_path, {})
    again = Saved(tmp_path).eval()
    assert again.about["network"] == {
        "backbone": "test_resnet", "classes": 5, "classifier": kind, "decoder": "upernet", "width": 64
    }  # fmt: skip
    assert torch.equal(again(VIEWS).logits, expected)
    teacher = Ema(net, momentum=0.5)
    assert torch.equal(teacher(VIEWS).logits, expected)
    other = copy.deepcopy(net)
    torch.nn.init.normal_(other.classifier.weight)
    teacher.follow(other)
    assert not torch.equal(teacher(VIEWS).logits, expected)
    assert torch.equal(net(VIEWS).logits, expected)


def test_a_second_stage_keeps_encoder_and_decoder() -> None:
    first, second = dense("upernet"), dense("upernet", "cosine")
    first(VIEWS)
    second.load_stage(first, classifier=False)
    second.freeze()
    second.train()

    def features(net: DenseNetwork) -> Tensor:
        return net(VIEWS).features

    assert [name for name, value in second.named_parameters() if value.requires_grad] == ["classifier.weight"]
    assert torch.equal(features(second), features(first.eval()))
    assert torch.equal(features(second), features(first))  # running statistics have not moved
    second(VIEWS[:1, :1])  # a frozen network trains its classifier on a single image too


def test_stages_must_fit() -> None:
    with pytest.raises(TailwiseError, match="its decoder is upernet, this one is fpn"):
        dense("fpn").load_stage(dense("upernet"), classifier=True)
    with pytest.raises(TailwiseError, match="its width is 128, this one is 64"):
        dense().load_stage(dense(width=128), classifier=True)
    with pytest.raises(TailwiseError, match="its decoder is none, this one is fpn"):
        dense().load_stage(Network("test_resnet", 5), classifier=True)
    with pytest.raises(TailwiseError, match="its number of classes is 5"):
        DenseNetwork("fpn", "test_resnet", 4, width=64).load_stage(dense(), classifier=True)


def test_a_single_image_is_one_clear_line() -> None:
    net = dense("upernet")
    with pytest.raises(TailwiseError, match=r"^batch_size: BatchNorm cannot train on a single image;[^\n]*$"):
        net(VIEWS[:1, :1])
    assert net(VIEWS[:, :1]).logits.shape == (2, 1, 16, 24, 5)  # two views of one are enough
    assert net.eval()(VIEWS[:1, :1]).logits.shape == (1, 1, 16, 24, 5)


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    net = dense()

    def fail(_: Tensor) -> Tensor:
        raise ValueError("something else")

    monkeypatch.setattr(net.backbone.encoder, "forward", fail)
    with pytest.raises(ValueError, match="something else"):
        net(VIEWS)


@pytest.mark.parametrize(
    ("decoder", "backbone", "width", "message"),
    [
        ("upernt", "test_resnet", 64, r"model\.decoder: upernt unknown; did you mean upernet\?"),
        ("deeplab", "test_resnet", 64, r"did you mean deeplabv3plus\?"),
        ("fpn", "resnt50", 64, r"model resnt50: unknown; did you mean resnet50\?"),
        ("fpn", "test_vit", 64, r"test_vit cannot feed fpn .*; take one such as resnet50"),
        ("fpn", "resnet20", 64, "resnet20 cannot feed fpn"),
        ("deeplabv3plus", "pvt_v2_b0", 64, "pvt_v2_b0 cannot feed deeplabv3plus .*output_stride"),
        ("fpn", "test_resnet", 96, r"model\.width: must be a positive multiple of 64, got 96"),
        ("fpn", "test_resnet", 0, r"model\.width: must be a positive multiple of 64, got 0"),
    ],
)
def test_mistakes_are_one_clear_line(decoder: str, backbone: str, width: int, message: str) -> None:
    with pytest.raises(TailwiseError, match=message) as caught:
        DenseNetwork(decoder, backbone, 5, width=width)
    assert "\n" not in str(caught.value)


def test_a_missing_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(TailwiseError, match=r"pip install tailwise\[segmentation\]"):
        dense()


def test_several_experts_are_refused() -> None:
    with pytest.raises(TailwiseError, match=r"model\.experts: a network for pixels has one, got 3"):
        network("test_resnet", 5, experts=3, decoder="fpn")
