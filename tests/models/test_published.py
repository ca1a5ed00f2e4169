"""Published checkpoints: names and shapes as their authors' code writes them, random weights; equal logits; no code run."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tailwise.models import Saved, save
from tailwise.models.published import _architecture, convert
from tailwise.types import TailwiseError

CLASSES = 7
Method = Literal["bcl", "gml", "proco"]


class Block(nn.Module):
    """As the authors name it: conv1, bn1, conv2, bn2, and a shortcut without parameters."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == width else 2
        self.conv1 = nn.Conv2d(inputs, width, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        if self.stride == 2:
            empty = torch.zeros(len(x), y.shape[1] // 4, *y.shape[2:])
            x = torch.cat([empty, x[:, :, ::2, ::2], empty], 1)
        return (y + x).relu()


class Cifar(nn.Module):
    """The small ResNet: features (N, 64), or logits too where it has its own ``fc``."""

    def __init__(self, blocks: int, fc: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for stage, (inputs, width) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            more = (Block(width, width) for _ in range(blocks - 1))
            setattr(self, f"layer{stage}", nn.Sequential(Block(inputs, width), *more))
        self.fc = fc

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)).relu())))
        features = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return features if self.fc is None else self.fc(features)


class Cosines(nn.Module):
    """``scale`` times the cosines, of a weight (D, C)."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, CLASSES))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.normalize(x, dim=1) @ F.normalize(self.weight, dim=0)


class TwoBranches(nn.Module):
    """``encoder``, ``head``, ``fc``; BCL's has ``head_fc`` too."""

    def __init__(self, encoder: nn.Module, fc: nn.Module, width: int, bcl: bool) -> None:
        super().__init__()
        self.encoder, self.fc = encoder, fc
        self.head = nn.Sequential(nn.Linear(width, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
        if bcl:
            self.head_fc = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.encoder(x))


class Moco(nn.Module):
    """GML's: student, teacher, projections, queue; cosines without a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder_q, self.encoder_k = Cifar(1, Cosines(64, 1.0)), Cifar(2, Cosines(64, 1.0))
        self.embed_q, self.embed_k = nn.Linear(64, 4), nn.Linear(64, 4)
        self.register_buffer("queue_k", torch.randn(20, 64))

    def forward(self, x: Tensor) -> Tensor:
        return 30 * self.encoder_q(x)


def shaken(model: nn.Module) -> nn.Module:
    """The model in eval mode, its norms away from their start."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight.data, module.bias.data, module.running_mean):
                value.add_(0.2 * torch.randn_like(value))
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def large(fc: nn.Module) -> nn.Module:
    from torchvision.models import resnet18

    encoder = resnet18()
    encoder.fc = nn.Identity()
    return TwoBranches(encoder, fc, 512, bcl=True)


LAYOUTS: dict[str, tuple[Method, Callable[[], nn.Module], str, str, int]] = {
    "gml": ("gml", Moco, "resnet8", "cosine", 32),
    "gml teacher": ("gml", lambda: Cifar(2, Cosines(64, 30.0)), "resnet14", "cosine", 32),
    "proco": ("proco", lambda: TwoBranches(Cifar(1), nn.Linear(64, CLASSES), 64, bcl=False), "resnet8", "linear", 32),
    "proco cosine": ("proco", lambda: TwoBranches(Cifar(1), Cosines(64, 30.0), 64, bcl=False), "resnet8", "cosine", 32),
    "bcl": ("bcl", lambda: large(Cosines(512, 30.0)), "resnet18", "cosine", 224),
}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> tuple[Any, ...]:
    torch.manual_seed(0)
    method, make, *rest = LAYOUTS[request.param]
    return (method, shaken(make()), *rest)


def written(path: Path, model: nn.Module, wrapped: bool = True, **more: object) -> Path:
    state = {f"module.{k}" if wrapped else k: v for k, v in model.state_dict().items()}
    torch.save({"epoch": 200, "arch": "resnet32", "state_dict": state, **more}, path)
    return path


def test_the_logits_are_those_of_the_authors_network(tmp_path: Path, layout: tuple[Any, ...]) -> None:
    method, model, backbone, classifier, size = layout
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    path = written(tmp_path / "ckpt.pth.tar", model, optimizer=optimizer.state_dict(), best_acc1=torch.tensor(52.8))
    found = convert(path, method)
    save(found.network, tmp_path / "run", found.about)
    again = Saved(tmp_path / "run").eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again(images[None]).logits[0], model(images), rtol=1e-4, atol=1e-4)
    assert again.about["network"] == {"backbone": backbone, "classes": CLASSES, "classifier": classifier}
    assert again.about["image_size"] == size
    assert again.about["classes"] == [str(c) for c in range(CLASSES)]
    assert again.about["carried_log_prior"] == [0.0] * CLASSES
    assert again.about["train_counts"] is None
    assert again.about["converted"]["unknown"] == ["train_counts"]
    assert len(again.about["converted"]["sha256"]) == 64


def test_what_only_training_needs_is_left_out_and_counted(tmp_path: Path) -> None:
    model = Moco()
    found = convert(written(tmp_path / "a.pth", model), "gml")
    teacher = sum(name.startswith("encoder_k") for name in model.state_dict())
    assert found.left_out == {"encoder_k": teacher, "embed_q": 2, "embed_k": 2, "queue_k": 1}


def test_bare_state_dicts_and_those_under_model_are_read(tmp_path: Path) -> None:
    model = Cifar(1, Cosines(64, 30.0))
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    torch.save({"model": {f"backbone.{k}": v.half() for k, v in model.state_dict().items()}}, tmp_path / "model.pth")
    bare, under = (convert(tmp_path / f"{name}.pth", "bcl").network for name in ("bare", "model"))
    torch.testing.assert_close(under.classifier.weight, bare.classifier.weight, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "here"), [("resnet50", "resnet50"), ("resnext50_32x4d", "resnext50_32x4d"), ("resnext101_32x8d",) * 2]
)
def test_the_large_networks_are_known_by_their_shapes(name: str, here: str) -> None:
    import timm
    import torchvision

    with torch.device("meta"):
        theirs = torchvision.models.get_model(name).state_dict()
        ours = timm.create_model(here, num_classes=0).state_dict()
    body = {key: value for key, value in theirs.items() if not key.startswith("fc.")}
    backbone, renamed = _architecture(Path("x.pth"), body)
    assert backbone == here
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in ours.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "resnext50_32x4d"])
def test_the_large_networks_give_the_same_logits(name: str, tmp_path: Path) -> None:
    import torchvision

    torch.manual_seed(0)
    encoder = torchvision.models.get_model(name)
    encoder.fc = nn.Identity()
    model = shaken(TwoBranches(encoder, Cosines(2048, 30.0), 2048, bcl=True))
    found = convert(written(tmp_path / "a.pth", model), "bcl")
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(found.network(images[None]).logits[0], model(images), rtol=1e-4, atol=1e-4)
    assert found.network.config["backbone"] == name


def test_inaturalist_is_normalised_as_its_code_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailwise.models.published.SPECIES", CLASSES)
    about = convert(written(tmp_path / "a.pth", large(Cosines(512, 30.0))), "bcl").about
    assert about["normalisation"]["mean"] == (0.466, 0.471, 0.380)


# Mistakes


def no_file(path: Path) -> None:
    pass


def no_checkpoint(path: Path) -> None:
    path.write_text("not a checkpoint")


def whole_model(path: Path) -> None:
    torch.save([1, 2], path)


def script(path: Path) -> None:
    written(path, Cifar(1, Cosines(64, 30.0)))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(f"{file.namelist()[0].split('/')[0]}/constants.pkl", b"")  # by this torch knows its scripts


def transformer(path: Path) -> None:
    torch.save({"state_dict": {"blocks.0.attn.qkv.weight": torch.zeros(2, 2)}}, path)


def features_only(path: Path) -> None:
    written(path, TwoBranches(Cifar(1), nn.Identity(), 64, bcl=False))


def unknown_classifier(path: Path) -> None:
    written(path, TwoBranches(Cifar(1), nn.Linear(64, CLASSES, bias=False), 64, bcl=False))


def lacks_a_layer(path: Path) -> None:
    model = TwoBranches(Cifar(1), nn.Linear(64, CLASSES), 64, bcl=False)
    del model.encoder.layer3[0].bn2
    written(path, model)


def has_more(path: Path) -> None:
    model = TwoBranches(Cifar(1), nn.Linear(64, CLASSES), 64, bcl=False)
    model.encoder.layer2[0].shortcut = nn.Sequential(nn.Conv2d(16, 32, 1))
    written(path, model)


def wider(path: Path) -> None:
    model = TwoBranches(Cifar(1), nn.Linear(64, CLASSES), 64, bcl=False)
    model.encoder.conv1 = nn.Conv2d(3, 32, 3, bias=False)
    written(path, model)


def damaged(path: Path) -> None:
    model = TwoBranches(Cifar(1), nn.Linear(64, CLASSES), 64, bcl=False)
    model.encoder.layer1[0].conv1.weight.data[0, 0, 0, 0] = float("nan")
    written(path, model)


def of_bcl(path: Path) -> None:
    written(path, TwoBranches(Cifar(1), nn.Linear(64, CLASSES), 64, bcl=True))


def of_gml(path: Path) -> None:
    written(path, Moco())


def unusual_depth(path: Path) -> None:
    model = TwoBranches(Cifar(1), nn.Linear(64, CLASSES), 64, bcl=False)
    model.encoder.layer2 = nn.Sequential(Block(16, 32), Block(32, 32))
    written(path, model)


MISTAKES = {
    no_file: "no such checkpoint",
    no_checkpoint: "not a checkpoint that can be read safely",
    script: "not a checkpoint that can be read safely",
    whole_model: "holds a list, not a state dict",
    transformer: r"no network of proco in it \(encoder.conv1.weight is missing\)",
    features_only: r"no classifier in it \(fc.weight is missing\)",
    unknown_classifier: r"a classifier of shape \(7, 64\) without bias on 64 features is unknown",
    lacks_a_layer: "the file lacks backbone.blocks.2.norm2.bias",
    has_more: "has more than we do, such as backbone.blocks.1.shortcut.0.bias",
    wider: r"backbone.stem.weight has shape \(32, 3, 3, 3\), not \(16, 3, 3, 3\)",
    damaged: "encoder.layer1.0.conv1.weight holds NaN or infinite numbers",
    of_bcl: r"written by bcl's code, it has head_fc\.\*; give --from bcl instead of proco",
    of_gml: r"written by gml's code, it has encoder_q\.\*; give --from gml instead of proco",
    unusual_depth: r"a ResNet of 1 \+ 2 \+ 1 basic blocks is not known",
}


@pytest.mark.parametrize("make", MISTAKES, ids=lambda make: make.__name__)
def test_what_cannot_be_converted_is_one_line(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    make(path)
    with pytest.raises(TailwiseError, match=MISTAKES[make]) as caught:
        convert(path, "proco")
    assert "\n" not in str(caught.value)
    assert re.match(r".*a\.pth: ", str(caught.value))


@pytest.mark.parametrize("method", ["bcl", "gml"])
def test_a_file_of_proco_is_not_taken_for_another_method(method: Method, tmp_path: Path) -> None:
    path = written(tmp_path / "a.pth", TwoBranches(Cifar(1), nn.Linear(64, CLASSES), 64, bcl=False))
    with pytest.raises(TailwiseError, match=rf"it has head\.\*; give --from proco instead of {method}"):
        convert(path, method)


@pytest.mark.parametrize(
    ("names", "said"), [(["a", "b"], "2 class names for 7 classes"), (list("abcdefa"), "'a' is there twice")]
)
def test_class_names_must_fit(names: list[str], said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.pth", Cifar(1, Cosines(64, 30.0)))
    with pytest.raises(TailwiseError, match=said):
        convert(path, "gml", names)
    assert convert(path, "gml", list("abcdefg")).about["classes"] == list("abcdefg")
