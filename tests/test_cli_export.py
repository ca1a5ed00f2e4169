"""``tailwise export`` and ``convert``: their words, what they print, and that mistakes are one line."""

from pathlib import Path

import pytest
import torch
from models.test_published import Cifar, Cosines, shaken, written
from test_export import trained

from tailwise.cli.convert import convert
from tailwise.cli.export import export
from tailwise.models import Saved
from tailwise.types import TailwiseError

Capture = pytest.CaptureFixture[str]


def test_export_says_what_it_wrote(tmp_path: Path, capsys: Capture) -> None:
    run = trained(tmp_path / "run", backbone="resnet8")
    export([str(run), "--format", "safetensors"])
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{run / 'run.safetensors'}: 0.3 MB, images (N, 3, 32, 32) to logits (N, 3)"
    assert second == "checked: its logits are those of the run to within 0e+00"
    with pytest.raises(TailwiseError, match="exists already"):
        export([str(run), "--format", "safetensors"])
    export([str(run), "--format=safetensors", "--overwrite"])
    assert capsys.readouterr().out


def test_export_of_pixels_says_which_sides(tmp_path: Path, capsys: Capture) -> None:
    run = trained(tmp_path / "run", 64, backbone="test_resnet", decoder="fpn", width=64)
    export([str(run), "--format", "safetensors"])
    assert "images (N, 3, H, W) to logits (N, 3, H, W), H and W multiples of 32" in capsys.readouterr().out
    export([str(run), "--format", "safetensors", "--size", "64x96", "--overwrite"])
    assert "images (N, 3, 64, 96) to logits (N, 3, 64, 96)\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere: no model.safetensors there"),
        (["nowhere", "--size", "0x4"], "--size is HxW such as 512x640, got '0x4'"),
        (["nowhere", "--form", "x", "--nothing"], "unrecognized arguments"),
        ([], "required"),
    ],
)
def test_mistakes_of_export(words: list[str], said: str) -> None:
    with pytest.raises(TailwiseError, match=said):
        export(words)


def test_convert_writes_a_folder_that_a_run_is_read_from(tmp_path: Path, capsys: Capture) -> None:
    torch.manual_seed(0)
    path = written(tmp_path / "ckpt.pth.tar", shaken(Cifar(1, Cosines(64, 30.0))))
    (tmp_path / "names.txt").write_text("\n".join("abcdefg") + "\n\n", encoding="utf-8")
    out = tmp_path / "converted"
    convert([str(path), "--from", "gml", "--classes", str(tmp_path / "names.txt"), "--out", str(out)])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{out}: resnet8, 7 classes, cosine classifier"
    command = f"tailwise fit SOURCE --epochs 0 --model.start_from {out} --model.backbone resnet8 --model.classifier cosine"
    assert printed[-1] == f"judge it: {command}"
    assert any(line.startswith("unknown: training counts") for line in printed)
    assert Saved(out).about["classes"] == list("abcdefg")
    export([str(out), "--format", "safetensors"])
    assert "logits (N, 7)" in capsys.readouterr().out
    with pytest.raises(TailwiseError, match="exists already; choose another --out"):
        convert([str(path), "--from", "gml", "--out", str(out)])


def test_convert_says_what_it_left_out(tmp_path: Path, capsys: Capture) -> None:
    model = shaken(Cifar(1, Cosines(64, 30.0)))
    model.embed_q = torch.nn.Linear(2, 2)
    convert([str(written(tmp_path / "a.pth", model)), "--from", "gml", "--out", str(tmp_path / "run")])
    assert "left out, of training only: embed_q (2)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.pth", "--from", "moco", "--out", "x"], "invalid choice: 'moco'"),
        (["a.pth", "--from", "gml"], "--out"),
        (["a.pth", "--from", "gml", "--out", "x"], r"a\.pth: no such checkpoint"),
        (["a.pth", "--from", "gml", "--out", "x", "--classes", "none.txt"], r"--classes none\.txt: cannot be read"),
    ],
)
def test_mistakes_of_convert(words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TailwiseError, match=said):
        convert(words)
    assert not (tmp_path / "x").exists()
