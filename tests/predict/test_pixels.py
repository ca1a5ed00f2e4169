"""Masks of folders of images: numbers, palettes, sizes, names; what is refused, skipped, and left in place."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tailwise.models import Network, save
from tailwise.predict import pixels as module
from tailwise.predict import segment
from tailwise.report.colours import colours, hexadecimal
from tailwise.types import Output, TailwiseError

NAMES = ["red", "green", "blue"]


class Brightest(nn.Module):
    """Stands for a saved run: a pixel's class is its brightest channel, and further classes never win."""

    def __init__(
        self, run: str | Path, classes: int = 3, short_side: int | None = None, window: list[int] | None = None
    ) -> None:
        super().__init__()
        self.classes, self.dim, self.seen = classes, 3, []
        self.weight = nn.Parameter(torch.zeros(1))
        self.about = {
            "network": {"decoder": "fpn"},
            "classes": [*NAMES, *(f"c{c}" for c in range(3, classes))],
            "normalisation": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
            "pixels": {"short_side": short_side, "window": window},
        }

    def forward(self, views: Tensor) -> Output:
        self.seen.append(tuple(views.shape))
        assert not self.training
        assert -1 <= float(views.min()) <= float(views.max()) <= 1
        scores = torch.full((*views.shape[:2], *views.shape[3:], self.classes), -9.0)
        scores[..., :3] = views.movedim(2, -1)
        return Output(scores, scores, self.weight)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> list[Brightest]:
    """Runs are `Brightest`; the list has the one that was read."""
    read: list[Brightest] = []

    def saved(path: str | Path) -> Brightest:
        read.append(Brightest(path))
        return read[-1]

    monkeypatch.setattr(module, "Saved", saved)
    return read


def striped(path: Path, size: tuple[int, int] = (12, 8)) -> np.ndarray:
    """An image (width, height) of which the left third is red, the next green, the last blue; returns its classes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    classes = np.broadcast_to(np.arange(size[0]) * 3 // size[0], (size[1], size[0]))
    Image.fromarray((np.eye(3)[classes] * 250).astype(np.uint8)).save(path)
    return classes


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_becomes_masks_overlays_and_a_table(
    tmp_path: Path, run: list[Brightest], capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    expected = {"a": striped(photos / "a.png"), "deep/b.c": striped(photos / "deep/b.c.png", (21, 30))}
    (photos / "notes.txt").write_text("no image")
    striped(photos / ".hidden.png")
    done = segment("run", [photos], out)
    assert (done.out, done.images, done.skipped) == (out, 2, ())
    found = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert found == {"a.png", "a_overlay.jpg", "deep/b.c.png", "deep/b.c_overlay.jpg", "classes.csv"}
    for name, classes in expected.items():
        with Image.open(out / f"{name}.png") as mask:
            assert mask.mode == "P"
            assert np.array_equal(np.asarray(mask), classes)
            assert np.array_equal(np.asarray(mask.convert("RGB")), colours(3)[classes])
        with Image.open(out / f"{name}_overlay.jpg") as overlay, Image.open(photos / f"{name}.png") as picture:
            assert overlay.size == picture.size
            half = (np.asarray(picture, dtype=float) + colours(3)[classes]) / 2
            assert np.median(np.abs(np.asarray(overlay) - half)) < 8  # JPEG smears the edges
    assert [row["name"] for row in rows(out / "classes.csv")] == NAMES
    assert [row["colour"] for row in rows(out / "classes.csv")] == [hexadecimal(colour) for colour in colours(3)]
    assert [float(row["share"]) for row in rows(out / "classes.csv")] == pytest.approx([1 / 3] * 3, abs=1e-5)
    assert capsys.readouterr().err.splitlines() == ["1 of 2 images", "2 of 2 images"]


def test_files_are_read_at_the_runs_size_and_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    striped(tmp_path / "a.png", (48, 36))
    model = Brightest("run", short_side=12, window=[8, 8])
    monkeypatch.setattr(module, "Saved", lambda run: model)
    segment("run", [tmp_path / "a.png"], tmp_path / "out", overlay=False)
    assert {shape[-2:] for shape in model.seen} == {(8, 8)}
    with Image.open(tmp_path / "out/a.png") as mask:
        assert mask.size == (48, 36)
        assert set(np.asarray(mask)[:, ::15].ravel()) == {0, 1, 2}
    assert not (tmp_path / "out/a_overlay.jpg").exists()
    for window, shape in (("whole", (12, 16)), ((12, 9), (12, 9))):
        model.seen.clear()
        segment("run", [tmp_path / "a.png"], tmp_path / "out", window=window, flip=True)
        assert {seen[-2:] for seen in model.seen} == {shape}


def test_more_than_256_classes_take_16_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = striped(tmp_path / "a.png")
    monkeypatch.setattr(module, "Saved", lambda run: Brightest(run, classes=300))
    segment("run", [tmp_path / "a.png"], tmp_path / "out")
    with Image.open(tmp_path / "out/a.png") as mask:
        assert mask.mode == "I;16"
        assert np.array_equal(np.asarray(mask), classes)


def test_what_cannot_be_read_is_listed(tmp_path: Path, run: list[Brightest], capsys: pytest.CaptureFixture[str]) -> None:
    striped(tmp_path / "in/a.png")
    (tmp_path / "in/broken.jpg").write_bytes(b"not a picture")
    done = segment("run", [tmp_path / "in"], tmp_path / "out")
    assert done.images == 1
    assert [path.name for path, _ in done.skipped] == ["broken.jpg"]
    (row,) = rows(tmp_path / "out/skipped.csv")
    assert row["path"].endswith("broken.jpg")
    assert "cannot be read" in row["problem"]
    assert "skipped: " in capsys.readouterr().err
    segment("run", [tmp_path / "in/a.png"], tmp_path / "out")
    assert not (tmp_path / "out/skipped.csv").exists()
    with pytest.raises(TailwiseError, match=r"none of the 1 images can be read; the first: .*broken\.jpg"):
        segment("run", [tmp_path / "in/broken.jpg"], tmp_path / "none")


def test_masks_of_an_earlier_time_are_no_images(tmp_path: Path, run: list[Brightest]) -> None:
    striped(tmp_path / "a.jpg")
    for _ in range(2):
        assert segment("run", [tmp_path], tmp_path / "masks").images == 1


def test_nothing_is_replaced_unseen(tmp_path: Path, run: list[Brightest]) -> None:
    striped(tmp_path / "in/a.png")
    before = (tmp_path / "in/a.png").read_bytes()
    with pytest.raises(TailwiseError, match=r"would replace the image .*a\.png; give another --out"):
        segment("run", [tmp_path / "in"], tmp_path / "in")
    assert (tmp_path / "in/a.png").read_bytes() == before
    striped(tmp_path / "in/a.bmp")
    striped(tmp_path / "other/a.png")
    for paths in ([tmp_path / "in"], [tmp_path / "in/a.png", tmp_path / "other"]):
        with pytest.raises(TailwiseError, match="would both be written to"):
            segment("run", paths, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert segment("run", [tmp_path / "other", tmp_path / "other/a.png"], tmp_path / "out").images == 1


@pytest.mark.parametrize(("path", "said"), [("missing", "no such file or folder"), ("empty", "no image found")])
def test_no_image_is_one_line(path: str, said: str, tmp_path: Path, run: list[Brightest]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TailwiseError, match=said):
        segment("run", [tmp_path / path], tmp_path / "out")


def test_a_run_for_images_is_refused(tmp_path: Path) -> None:
    striped(tmp_path / "a.png")
    save(Network("resnet8", 3), tmp_path / "run", {})
    with pytest.raises(TailwiseError, match="classifies whole images"):
        segment(tmp_path / "run", [tmp_path / "a.png"], tmp_path / "out")


def test_a_full_disk_is_one_line(tmp_path: Path, run: list[Brightest]) -> None:
    striped(tmp_path / "a.png")
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(TailwiseError, match="could not be written"):
        segment("run", [tmp_path / "a.png"], tmp_path / "out")
