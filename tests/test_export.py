"""Exported files: what they say, that they give the run's logits on photographs, and what is refused."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn

from tailwise.calibrate import Calibration
from tailwise.data.augment.read import Whole
from tailwise.data.source import Encoded
from tailwise.data.views import IMAGENET
from tailwise.export import Exported, export, formats, job
from tailwise.models import Network, Saved, network, save
from tailwise.priors import adjust
from tailwise.types import DenseOutput, TailwiseError

ROOT = Path(__file__).parents[1]
SERVE = ROOT / "docs/examples/serve_onnx.py"
CLASSES = ["cat", "dog", "snow leopard ❄"]
COUNTS = [90, 9, 0]
CARRIED = torch.tensor(COUNTS).clamp(min=1).div(99).log()


def shaken(model: Network) -> Network:
    """The model in eval mode, its norms away from their start, logits of a usual size."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def trained(folder: Path, size: int = 32, **options: Any) -> Path:
    """A finished run's model, untrained."""
    torch.manual_seed(0)
    about = {
        "classes": CLASSES,
        "image_size": size,
        "normalisation": {"mean": IMAGENET.mean, "std": IMAGENET.std},
        "train_counts": COUNTS,
        "carried_log_prior": CARRIED,
        "post_hoc": {},
        "calibration": {"method": "vector", "scale": [0.8, 1.2, 1.0], "bias": [0.3, 0.0, -0.1]},
    }
    if "decoder" in options:
        about["pixels"] = {"short_side": None, "window": None}
    save(shaken(network(classes=len(CLASSES), **options)), folder, about)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "cats-GML-0", backbone="resnet8", classifier="cosine")


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Of `run`, as ONNX, in a place of its own."""
    return export(run, "onnx", tmp_path_factory.mktemp("shipped") / "cats.onnx")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Seven photographs, wide, tall and square, in several sizes."""
    from sklearn.datasets import load_sample_images

    folder, paths = tmp_path_factory.mktemp("photos"), []
    whole = [Image.fromarray(image) for image in load_sample_images().images]
    boxes = [(0, 0, 640, 427), (10, 20, 200, 400), (100, 100, 300, 300), (0, 0, 32, 32)]
    for i, (image, box) in enumerate([(image, box) for image in whole for box in boxes][:7]):
        paths.append(folder / f"{i}.png")
        image.crop(box).save(paths[-1])
    return paths


def seen(photos: list[Path]) -> Tensor:
    """Photographs as the run's own reader gives them to its model."""
    return IMAGENET(Whole(32)(Encoded(photos), torch.arange(len(photos)), torch.zeros(0, len(photos))))


def by_onnx(path: Path, images: Tensor) -> Tensor:
    runtime: Any = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def said(path: Path) -> dict[str, Any]:
    """What the file says of itself."""
    onnx: Any = importlib.import_module("onnx")
    (entry,) = onnx.load(path).metadata_props
    assert entry.key == "tailwise"
    return json.loads(entry.value)


def logits(run: Path, images: Tensor) -> Tensor:
    with torch.no_grad():
        return Saved(run).eval()(images[None]).at_labels()


def test_onnx_gives_the_runs_logits_on_photographs(run: Path, exported: Exported, photos: list[Path]) -> None:
    images = seen(photos)
    for n in (1, 2, 7):
        torch.testing.assert_close(by_onnx(exported.path, images[:n]), logits(run, images[:n]), rtol=0, atol=1e-4)
    assert 0 <= exported.difference < 1e-4


def test_onnx_is_one_file_that_says_how_to_use_it(run: Path, exported: Exported) -> None:
    onnx: Any = importlib.import_module("onnx")
    assert [path.name for path in exported.path.parent.iterdir()] == ["cats.onnx"]
    content = exported.path.read_bytes()
    assert str(ROOT).encode() not in content  # nothing of the machine that wrote it
    model = onnx.load(exported.path)
    onnx.checker.check_model(model, full_check=True)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    sides = [
        [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*model.graph.input, *model.graph.output)
    ]
    assert sides == [["batch", 3, 32, 32], ["batch", 3]]
    about = said(exported.path)
    assert about == exported.metadata
    assert about.items() >= Saved(run).about.items()
    assert about["classes"] == CLASSES
    assert about["carried_log_prior"] == CARRIED.tolist()
    assert about["task"] == "images"
    assert about["input"]["short_side"] == round(32 * 8 / 7)
    assert about["input"]["size"] == [32, 32]
    assert about["output"] == {"name": "logits", "layout": "NC"}
    assert about["tailwise"]
    assert about["calibration"]["scale"] == [0.8, 1.2, 1.0]
    assert about["to_uniform"][2] == job.NEVER  # no image in training
    assert about["to_uniform"][0] - about["to_uniform"][1] == pytest.approx(np.log(9 / 90), abs=1e-6)


def test_the_script_of_the_docs_serves_it(run: Path, exported: Exported, photos: list[Path]) -> None:
    assert len([line for line in SERVE.read_text().splitlines() if line.strip()]) <= 20
    assert f'--8<-- "{SERVE.relative_to(ROOT).as_posix()}"' in (ROOT / "docs/export.md").read_text(encoding="utf-8")
    done = subprocess.run([sys.executable, SERVE, exported.path, *photos], capture_output=True, text=True, check=True)
    free = adjust(logits(run, seen(photos)), CARRIED, absent=torch.tensor(COUNTS) == 0)
    given = Saved(run).about["calibration"]
    wanted = Calibration("vector", torch.tensor(given["scale"]), torch.tensor(given["bias"]))(free).exp()
    lines = done.stdout.splitlines()
    assert len(lines) == len(photos)
    for path, shares, line in zip(photos, wanted, lines, strict=True):
        where, *best = line.split("  ")
        assert where == str(path)
        for text, c in zip(best, shares.argsort(descending=True), strict=True):
            share, name = text.split(" ", 1)
            assert name == CLASSES[c]
            assert float(share) == pytest.approx(float(shares[c]), abs=0.02)  # Pillow's resize rounds differently
    assert lines[3].split("  ")[1].startswith(f"{float(wanted[3].max()):.3f}")  # of a picture that has the size it is exact


def test_a_torch_program_gives_the_runs_logits(run: Path, tmp_path: Path, photos: list[Path]) -> None:
    done = export(run, "torch", tmp_path / "cats.pt2")
    extra = {"tailwise.json": ""}
    again = torch.export.load(tmp_path / "cats.pt2", extra_files=extra).module()
    assert json.loads(extra["tailwise.json"]) == done.metadata
    images = seen(photos)
    for n in (1, 2, 7):
        torch.testing.assert_close(again(images[:n]), logits(run, images[:n]), rtol=0, atol=1e-4)
    assert str(ROOT).encode() not in done.path.read_bytes()


def test_safetensors_holds_weights_and_one_entry(run: Path, tmp_path: Path) -> None:
    done = [export(run, "safetensors", tmp_path / f"{i}.safetensors") for i in range(2)]
    assert done[0].difference == 0
    assert done[0].path.read_bytes() == done[1].path.read_bytes()
    with safe_open(done[0].path, "pt") as file:
        assert set(file.metadata()) == {"tailwise"}
        assert json.loads(file.metadata()["tailwise"]) == done[0].metadata
        again = network(**done[0].metadata["network"])
        again.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


@pytest.mark.parametrize(
    "options",
    [
        {"backbone": "resnet8", "classifier": "scaled", "experts": 2},
        pytest.param({"backbone": "resnet18", "classifier": "scaled"}, marks=pytest.mark.slow),
        pytest.param({"backbone": "resnet20", "classifier": "cosine", "experts": 3}, marks=pytest.mark.slow),
        pytest.param({"backbone": "vit_tiny_patch16_224", "classifier": "cosine", "size": 224}, marks=pytest.mark.slow),
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_other_networks_as_onnx(options: dict[str, Any], tmp_path: Path) -> None:
    run = trained(tmp_path / "run", **options)
    done = export(run)
    assert done.path == run / "run.onnx"
    size = options.get("size", 32)
    images = torch.randn(7, 3, size, size, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(by_onnx(done.path, images), logits(run, images), rtol=0, atol=1e-4)


# Pixels


def pixels(run: Path, images: Tensor) -> Tensor:
    return logits(run, images).movedim(-1, 1)


class Cells(nn.Module):
    """Stands for a network for pixels: a convolution, and logits as coarse as its cells."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.weight = nn.Conv2d(3, 5, 4, 4), nn.Parameter(torch.randn(3, 5))

    def forward(self, views: Tensor) -> DenseOutput:
        features = self.body(views[0]).movedim(1, -1)[None]
        return DenseOutput(features @ self.weight.T, features, self.weight, size=(views.shape[-2], views.shape[-1]))


def test_pixels_take_any_multiple_of_a_step(tmp_path: Path) -> None:
    deployed = formats.Deployed(Cells()).eval()  # type: ignore[arg-type]
    rerun = formats.onnx(deployed, formats.Sides((64, 64), 8), "{}", tmp_path / "a.onnx")
    for shape in ((1, 3, 8, 8), (2, 3, 64, 64), (7, 3, 24, 80)):
        images = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
        wanted = deployed(images)
        assert wanted.shape == (shape[0], 3, *shape[2:])
        torch.testing.assert_close(rerun(images), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("decoder", "free"), [("upernet", False), ("fpn", True), ("deeplabv3plus", True), ("unet", True)])
def test_networks_for_pixels(decoder: str, free: bool, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", 64, backbone="resnet18", decoder=decoder, width=64)
    done = export(run)
    assert done.metadata["input"]["size"] == (None if free else [64, 64])
    assert done.metadata["output"]["layout"] == "NCHW"
    for sides in ((64, 64), (96, 160)) if free else ((64, 64),):
        images = torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(by_onnx(done.path, images), pixels(run, images), rtol=1e-4, atol=1e-4)
    fixed = export(run, "onnx", tmp_path / "fixed.onnx", size=(70, 50))
    assert fixed.metadata["input"]["size"] == [70, 50]
    images = torch.randn(3, 3, 70, 50, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(by_onnx(fixed.path, images), pixels(run, images), rtol=1e-4, atol=1e-4)


def test_where_free_sides_cannot_be_had_they_are_fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(deployed: formats.Deployed, sides: formats.Sides, about: str, path: Path) -> formats.Rerun:
        if sides.step is not None:
            raise formats.NotConverted("export: no")
        path.write_text(about)
        return deployed

    monkeypatch.setitem(formats.FORMATS, "onnx", (".onnx", write))
    run = trained(tmp_path / "run", 48, backbone="test_resnet", decoder="fpn", width=64)
    assert export(run).metadata["input"]["size"] == [48, 48]
    assert export(run, size=(32, 64), overwrite=True).metadata["input"]["size"] == [32, 64]


# Refusals


def written_by(rerun: Any) -> Any:
    def write(deployed: formats.Deployed, sides: formats.Sides, about: str, path: Path) -> formats.Rerun:
        path.write_text("new")
        return lambda images: rerun(deployed(images))

    return write


@pytest.mark.parametrize(
    ("rerun", "difference"),
    [
        (lambda out: out + torch.eye(len(out), 3) * 1e-2, "e-0"),
        (lambda out: out * float("nan"), "nan"),
        (lambda out: torch.cat([out[:-1], out[-1:] * float("nan")]), "nan"),
        (lambda out: out[:1], "nan"),
    ],
    ids=["other", "nan", "one nan", "fixed batch"],
)
def test_a_file_that_differs_is_not_kept(
    rerun: Any, difference: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(formats.FORMATS, "onnx", (".onnx", written_by(rerun)))
    path = tmp_path / "a.onnx"
    path.write_text("old")
    with pytest.raises(TailwiseError, match=f"logits differ from the run's by [^ ]*{difference}"):
        export(run, "onnx", path, overwrite=True)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_nothing_is_overwritten_unasked(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(formats.FORMATS, "onnx", (".onnx", written_by(lambda out: out)))
    path = export(run, "onnx", tmp_path / "new/a.onnx").path
    path.write_text("old")
    with pytest.raises(TailwiseError, match=r"a\.onnx exists already; choose another --out, or pass --overwrite"):
        export(run, "onnx", path)
    assert path.read_text() == "old"
    assert export(run, "onnx", path, overwrite=True).path.read_text() == "new"
    with pytest.raises(TailwiseError, match="is the run's own file"):
        export(run, "safetensors", run / "model.safetensors", overwrite=True)


def test_a_full_disk_is_one_line(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(formats.FORMATS, "onnx", (".onnx", full))
    with pytest.raises(TailwiseError, match=r"could not be written \(No space left on device\); free some space"):
        export(run, "onnx", tmp_path / "a.onnx")


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_is_named_with_its_extra(missing: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def absent(name: str) -> Any:
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(TailwiseError, match=rf"needs the package {missing}; run pip install tailwise\[export\], or take"):
        export(run)


def test_what_a_converter_raises_is_one_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("\x1b[96mfirst\x1b[0m line\nand many more")

    monkeypatch.setattr(torch.export, "export", fails)
    with pytest.raises(TailwiseError) as caught:
        export(run, "torch")
    assert str(caught.value) == "export: torch.export cannot take this network (RuntimeError: first line); try another --format"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"form": "tflite"}, "format 'tflite' unknown; take onnx, torch, safetensors"),
        ({"out": "a.pt2"}, r"a\.pt2 must end in \.onnx"),
        ({"size": (32, 32)}, "leave --size out"),
    ],
)
def test_mistakes(words: dict[str, Any], problem: str, run: Path) -> None:
    with pytest.raises(TailwiseError, match=problem):
        export(run, **words)


def test_a_run_that_says_too_little_is_refused(tmp_path: Path) -> None:
    save(Network("resnet8", 3), tmp_path, {"classes": CLASSES})
    with pytest.raises(TailwiseError, match=r"says nothing about image_size and normalisation and carried_log_prior"):
        export(tmp_path)
