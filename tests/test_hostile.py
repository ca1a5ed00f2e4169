"""Files from anybody: no code of theirs runs, nothing is written elsewhere, and what is wrong is said in one line."""

import ast
import csv
import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from commands import Capture, picture, refused
from PIL import Image

import tailwise
from tailwise import conformal
from tailwise.cli import main
from tailwise.data import open_source
from tailwise.data.augment.pixels import read_whole
from tailwise.data.augment.read import Whole
from tailwise.data.cells import guarded, unguarded
from tailwise.data.checks import Sample, decoded, write_issues
from tailwise.data.source import Encoded, Issue
from tailwise.errors import visible
from tailwise.models import Network, Saved, save
from tailwise.models.backbones import build
from tailwise.models.published import convert
from tailwise.models.weights_file import read_tensors
from tailwise.predict.inputs import inputs
from tailwise.predict.pixels import _files
from tailwise.predict.targets import fixed
from tailwise.train import parse
from tailwise.types import TailwiseError

ROOT = Path(tailwise.__file__).parent
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "dill.load",
    "cloudpickle.loads", "marshal.loads", "shelve.open", "os.system", "os.popen", "yaml.load", "yaml.full_load",
    "yaml.unsafe_load", "torch.hub.load", "pd.read_pickle", "pandas.read_pickle",
}  # fmt: skip


class Calls:
    """Pickled as a call that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def calls(tree: ast.AST) -> Iterator[tuple[str, dict[str, ast.expr]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {one.arg: one.value for one in node.keywords if one.arg}


def dangers(source: str) -> list[str]:
    """The calls in a source that could run what a file says."""
    found = []
    for name, options in calls(ast.parse(source)):
        said = {key: ast.unparse(value) for key, value in options.items()}
        if name in FORBIDDEN or said.get("shell", "False") != "False" or said.get("trust_remote_code", "False") != "False":
            found.append(name)
        if name == "torch.load" and said.get("weights_only") != "True":
            found.append(name)
        if name in ("np.load", "numpy.load") and said.get("allow_pickle") != "False":
            found.append(name)
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_or_run(path: Path) -> None:
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "np.load(p)",
        "np.load(p, allow_pickle=True)",
        "pickle.loads(b)",
        "yaml.load(t, Loader=yaml.Loader)",
        "eval(text)",
        "subprocess.run(c, shell=True)",
        "load_dataset(n, trust_remote_code=True)",
    ],
)
def test_a_danger_is_seen(source: str) -> None:
    assert len(dangers(source)) == 1


def run_folder(folder: Path, **more: Any) -> Path:
    """What is shipped of a run of three classes."""
    about = {
        "classes": ["a", "b", "c"],
        "image_size": 8,
        "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
        "train_counts": [5, 3, 1],
        "carried_log_prior": [0.0] * 3,
    }
    save(Network("resnet8", 3), folder, about | more)
    return folder


def poisoned(kind: str, mark: Path, path: Path) -> Path:
    """A file that calls a function where it is unpickled: a checkpoint of torch, a raw pickle, or NumPy's."""
    content = {"state_dict": {"fc.weight": torch.zeros(2)}, "callbacks": Calls(mark)}
    if kind == "torch":
        torch.save(content, path)
    elif kind == "old torch":
        torch.save(content, path, _use_new_zipfile_serialization=False)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        with path.open("wb") as file:
            np.save(file, np.array([Calls(mark)], dtype=object), allow_pickle=True)
    return path


@pytest.mark.parametrize("kind", ["torch", "old torch", "pickle", "numpy"])
@pytest.mark.parametrize(
    "read",
    [
        read_tensors,
        lambda path: convert(path, "bcl"),
        lambda path: build("resnet8", str(path)),
        lambda path: Saved(path.parent),
        lambda path: conformal.read(path.parent),
        lambda path: parse.read(path),
        lambda path: open_source(path.rename(path.with_suffix(".parquet"))),
    ],
    ids=["tensors", "convert", "backbone", "model", "validation", "recipe", "parquet"],
)
def test_a_poisoned_file_calls_nothing(read: Callable[[Path], object], kind: str, tmp_path: Path) -> None:
    mark, folder = tmp_path / "mark", run_folder(tmp_path / "run")
    for name in ("model.safetensors", conformal.FILE):
        poisoned(kind, mark, folder / name)
    with pytest.raises(TailwiseError, match=r"^[^\n]+$"):
        read(poisoned(kind, mark, folder / "c.pth"))
    assert not mark.exists()
    Calls(mark).__reduce__()[0](str(mark))  # it would have
    assert mark.exists()


def test_a_checkpoint_is_no_larger_than_its_file(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(1).expand(10**12)}, tmp_path / "strides.pth")
    with pytest.raises(TailwiseError, match=r"refused, for fc\.weight is no tensor whose numbers are all in the file"):
        read_tensors(tmp_path / "strides.pth")
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(10**7))
    with pytest.raises(TailwiseError, match="would unpack to 10,000,000 bytes"):
        read_tensors(tmp_path / "bomb.pth")


@pytest.mark.parametrize(
    "change",
    [
        {"network": {"backbone": "resnet8", "classes": 10**12}},
        {"network": {"backbone": "resnet8", "classes": 3, "experts": 10**9}},
        {"network": {"backbone": "resnet8", "classes": 3, "weights": "/etc/passwd"}},
        {"network": {"backbone": ["resnet8"], "classes": 3}},
        {"network": {"backbone": "resnet8", "classes": True}},
        {"image_size": 10**9},
        {"classes": ["a", "b"]},
        {"classes": ["a", "b", 3]},
        {"normalisation": {"mean": [0.5] * 3, "std": [0.0] * 3}},
        {"train_counts": [1, 2]},
        {"carried_log_prior": "abc"},
        {"calibration": {"method": "vector", "scale": [1.0], "bias": 0.0}},
        {"pixels": {"window": [10**9, 1]}},
    ],
    ids=lambda change: "-".join(str(change).split())[:40],
)
def test_a_model_says_nothing_that_cannot_be(change: dict[str, Any], tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    Saved(folder)
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(about | change))
    with pytest.raises(TailwiseError, match=r"^[^\n]+cannot be[^\n]+$"):
        Saved(folder)


# Recipes

_DOUBLED = (f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]" for a, b in zip("abcdefghi", "bcdefghij", strict=True))
BOMB = "a: &a [x, x, x, x]\n" + "\n".join(_DOUBLED)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("objective: os.system", "of Python's own library"),
        ("objective: {class_path: subprocess.Popen, init_args: {args: [touch, ran]}}", "of Python's own library"),
        ("objective: {class_path: GML, init_args: {teacher: {class_path: antigravity.fly}}}", "of Python's own library"),
        ("sampler: tailwise.files.write_whole", "is no Sampler"),
        ("a: !!python/object/apply:os.system [touch ran]", "not readable YAML"),
        ("epochs: " + "1" * 5000, "not readable YAML"),
        ("epochs: 2020-13-45", "not readable YAML"),
        ("a: " + "[" * 2000, "not readable YAML"),
        ("about: " + "{a: " * 60 + "1" + "}" * 60, "inside one another"),
        (BOMB, "with aliases written out"),
        ("a: &a [*a]", "with aliases written out"),
        ("# " + "x" * 10**6, "more than 256 KiB"),
        ("base: 5", "base must be the name or path of one recipe"),
        ("base: " + "a" * 5000, "no recipe"),
        ("base: r.yaml", "form a circle"),
        ("- a\n- b", "expected keys and values, got list"),
        ("a: \x00", "not readable YAML"),
        ("? [1, 2]\n: 3", "not readable YAML"),
        ("1: 2", "recipe: "),
    ],
    ids=range(19),
)  # fmt: skip
def test_a_hostile_recipe_is_one_line(
    text: str, expected: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(text)
    line = refused(capsys, "fit", "--recipe", "r.yaml", "--out", "run")
    assert expected in line
    assert len(line) < 1700
    assert os.listdir() == ["r.yaml"]


def test_a_class_of_pythons_own_is_not_imported(tmp_path: Path, capsys: Capture) -> None:
    import sys

    refused(capsys, "fit", "digits", "--objective", "antigravity.fly", "--out", str(tmp_path / "run"))
    refused(capsys, "fit", "digits", "--objective=antigravity.fly", "--out", str(tmp_path / "run"))
    assert "antigravity" not in sys.modules


# Images


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and has one row."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jpg", b"x")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (png_of(65_000, 65_000), "decompression bomb"),
        (png_of(2**31 - 1, 2**31 - 1), "unreadable"),
        (png_of(60, 60), "truncated"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "not an image"),
        (zipped(), "not an image"),
        (b"", "empty file"),
        (b"GIF89a", "not an image"),
    ],
    ids=["65000", "2^31", "truncated", "svg", "zip", "empty", "gif"],
)
def test_an_image_that_is_none_says_what_it_is(content: bytes, problem: str) -> None:
    assert problem in decoded(Sample("x.jpg", 0, content)).problem
    with pytest.raises(TailwiseError, match="image 0: cannot be read"):
        Encoded([content])[0]


@pytest.mark.parametrize("mode", ["P", "CMYK", "I;16", "LA", "1", "F", "YCbCr"])
def test_odd_pixels_are_read_as_rgb(mode: str) -> None:
    out = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert(mode).save(out, "TIFF")
    assert Encoded([out.getvalue()])[0].mode == "RGB"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for c in "ab":
        for i in range(4):
            picture(photos / c / f"{i}.png", 10 * ord(c) + i)
    os.mkfifo(photos / "a" / "pipe.png")
    (photos / "a" / "folder.jpg").mkdir()
    (photos / "a" / "circle.png").symlink_to("circle.png")
    (photos / "b" / "zero.png").symlink_to("/dev/zero")
    with pytest.raises(TailwiseError, match="4 of 12 images are bad"):
        open_source(photos, issues_path=tmp_path / "issues.csv")
    with (tmp_path / "issues.csv").open(newline="") as file:
        problems = {Path(row["path"]).name: row["problem"] for row in csv.DictReader(file)}
    assert problems["pipe.png"] == problems["folder.jpg"] == problems["zero.png"] == "not a file"
    assert problems["circle.png"].startswith("unreadable")
    with pytest.raises(TailwiseError, match="not a file"):
        Encoded([photos / "a" / "pipe.png"])[0]


@pytest.mark.parametrize("size", [(65_000, 1), (1, 65_000)])
def test_a_line_of_pixels_takes_no_memory(size: tuple[int, int]) -> None:
    out = io.BytesIO()
    Image.new("RGB", size, (9, 8, 7)).save(out, "PNG")
    line = Encoded([out.getvalue()])
    seen = Whole(224)(line, torch.zeros(1, dtype=torch.int64), torch.zeros(0, 1))
    assert seen.shape == (1, 3, 224, 224)
    assert seen[0, :, 0, 0].tolist() == [9, 8, 7]
    with pytest.raises(TailwiseError, match=r"would have .* at short side 512; cut it"):
        read_whole(line, 0, 512)
    assert read_whole(line, 0).shape[1:] == size[::-1]


def test_of_a_picture_that_is_not_long_all_is_seen() -> None:
    wide = torch.randint(0, 256, (1, 40, 3), dtype=torch.uint8).numpy().repeat(10, 0).repeat(3, 1)
    out = io.BytesIO()
    Image.fromarray(wide).save(out, "PNG")
    at = torch.zeros(1, dtype=torch.int64)
    from tailwise.data.augment import read

    seen = Whole(8)(Encoded([out.getvalue()]), at, torch.zeros(0, 1))
    full, (top, left) = read._around(10, 120, 8)
    assert torch.equal(seen, read._resized(Image.fromarray(wide), full)[:, :, top : top + 8, left : left + 8])


# Tables


@pytest.mark.parametrize(
    "column",
    [
        {"bytes": pa.array([1, 2, 3, 4])},
        {"bytes": pa.array(["a", "b", "c", "d"])},
        {"bytes": pa.array([None] * 4, pa.binary()), "path": pa.array(["/etc/passwd", "../../etc/passwd", "a", ""])},
        {"bytes": pa.array([b"", b"\x00", b"not an image", b"<svg/>"])},
    ],
    ids=["numbers", "text", "paths", "rubbish"],
)
def test_a_parquet_of_other_things_is_refused(column: dict[str, pa.Array], tmp_path: Path) -> None:
    images = pa.StructArray.from_arrays(list(column.values()), list(column))
    pq.write_table(pa.table({"image": images, "label": pa.array([0, 1, 0, 1])}), tmp_path / "d.parquet")
    with pytest.raises(TailwiseError, match=r"^[^\n]+$") as caught:
        open_source(tmp_path / "d.parquet")
    assert "root:" not in str(caught.value)


@pytest.mark.parametrize("names", [5, [None, {}], {"a": 1}, "ab", ["a", "a"], ["a", " "]], ids=str)
def test_odd_names_in_a_parquet_are_one_line(names: object, tmp_path: Path) -> None:
    cells = [{"bytes": picture(tmp_path / f"{i}.png", i).read_bytes()} for i in range(4)]
    info = {"info": {"features": {"label": {"_type": "ClassLabel", "names": names}, "image": 3}}}
    table = pa.table({"image": cells, "label": [0, 1, 0, 1]}).replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, tmp_path / "d.parquet")
    with suppress(TailwiseError):  # which is of one line; any other error fails
        assert len(open_source(tmp_path / "d.parquet").names) == 2


def test_a_parquet_with_more_rows_than_bytes_is_refused(tmp_path: Path) -> None:
    n = 300_000
    images = pa.array([{"bytes": b"x"}] * n)
    pq.write_table(pa.table({"image": images, "label": pa.array([0] * n)}), tmp_path / "d.parquet")
    with pytest.raises(TailwiseError, match=r"that unpack to 300,000 rows"):
        open_source(tmp_path / "d.parquet")


def test_what_was_held_out_is_of_the_runs_classes(tmp_path: Path) -> None:
    for labels in (torch.tensor([0, 1, 2]), torch.tensor([0, 1, -1]), torch.zeros(0, dtype=torch.int64)):
        conformal.write(conformal.HeldOut(labels, labels.clamp(0, 1), labels.double(), labels.double()), tmp_path)
        with pytest.raises(TailwiseError, match="cannot be used"):
            conformal.read(tmp_path, 2)


def test_links_in_a_circle_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "around").symlink_to(tmp_path, target_is_directory=True)
    own = picture(tmp_path / "a.png", 1)
    assert [file for _, file in _files([tmp_path], tmp_path / "out")] == [own]
    assert [one.path for one in inputs([tmp_path])] == [own]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", b"\xff\xfe"),
        ("result.json", b"[" * 100_000),
        ("result.json", b"[]"),
        ("result.json", b'{"recipe": 1, "seed": [], "worst": 5, "balanced": {}}'),
        ("result.json", b'{"recipe": "a", "seed": 0, "worst": null, "balanced": 0.5, "per_class": 7}'),
        ("recipe.yaml", b"a: !!python/object/apply:os.system [touch ran]"),
    ],
    ids=range(6),
)
def test_a_damaged_run_is_shown_as_one_line(name: str, content: bytes, tmp_path: Path, capsys: Capture) -> None:
    from report.runs import COUNTS, judged

    result = json.dumps(judged(COUNTS)[0]).encode()
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        for file, valid in (("recipe.yaml", b"needs: {}\nseed: 0\n"), ("result.json", result)):
            (tmp_path / run / file).write_bytes(valid if file != name else content)
    refused(capsys, "report", str(tmp_path / "one"), str(tmp_path / "two"))


FORMULAS = ["=HYPERLINK(1)", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", " =1", "'=1", "''=1", "＝1", "\ufeff=1"]


@pytest.mark.parametrize("text", [*FORMULAS, "", "'", "'a", "a=1", "1", "plain.jpg", "'\ta"])
def test_a_guarded_cell_is_read_back(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    assert (cell != text) == (text in FORMULAS or text == "'\ta")
    assert not cell.lstrip(" \ufeff").startswith(tuple("=+-@\t\r\n＝"))


def test_formulas_in_our_tables_and_back(tmp_path: Path) -> None:
    write_issues([Issue("=cmd.png", "train", "@x"), Issue("bad\udcff.png", "train", "-1")], tmp_path / "issues.csv")
    with (tmp_path / "issues.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    assert rows == [["'=cmd.png", "train", "'@x"], [r"bad\udcff.png", "train", "'-1"]]
    assert inputs([tmp_path / "issues.csv"])[0].name == "=cmd.png"
    names = ("=a", "'=a", "b")
    prior = [guarded(name) for name in names]
    (tmp_path / "p.csv").write_text("class,share\n" + "\n".join(f"{name},{i + 1}" for i, name in enumerate(prior)))
    assert fixed(str(tmp_path / "p.csv"), names, torch.ones(3)).shares[""].tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6])


# Names

NAMES = [
    "<script>alert(1)</script>", "../../../tmp/escaped", "/etc/passwd", "two\nlines", "nul\x00", "\u202egpj.exe", "n" * 10_000,
    "a " * 5_000 + "z", "🦊👩‍👩‍👧", "half \ud800", " blank ", "Case", "case", "caf\u00e9",
    "cafe\u0301", "=1+1", "\x1b[2J\x1b]0;x\x07", "[bold]", "{{ 7*7 }}",
    "con", "-rf", "%s", "${needs.x}", "'\"><img src=x onerror=alert(1)>",
]  # fmt: skip


def test_text_is_one_line_that_does_nothing() -> None:
    for name in NAMES:
        shown = visible(name, 120)
        assert len(shown.splitlines()) == 1
        assert len(shown) < 700
        assert not set(shown) & set("\x00\x1b\x07\n\u202e\ud800")
        shown.encode()
        assert len(str(TailwiseError(f"class {name}: wrong")).splitlines()) == 1
    assert visible("🦊👩‍👩‍👧 café") == "🦊👩‍👩‍👧 café"


def test_reports_of_hostile_names(capsys: Capture) -> None:
    from report.pages import Page
    from report.runs import judged

    from tailwise.report import card
    from tailwise.report.images import image_report

    counts = (300 * 0.7 ** torch.arange(len(NAMES))).long().clamp(min=1)
    block, evidence = judged(counts, NAMES, each=3)
    page = image_report(block, evidence)
    found = Page(page)
    assert len(found.all("script")) == 1
    assert not [tag for tag, attributes in found.tags if any(name.startswith("on") for name in attributes)]
    assert not set(page) & set("\x00\x1b\x07\u202e\ud800")
    assert max(map(len, found.words[:-1])) < 60_000
    assert "n" * 200 not in page
    text = card(block)
    assert not set(text) & set("\x00\x1b\x07\u202e\ud800")
    assert max(map(len, text.splitlines())) < 200


def test_a_classes_name_goes_through_a_run(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained, judged, shown, exported and predicted under such names, and nothing lies outside of the folder."""
    monkeypatch.chdir(tmp_path)
    names = [name for name in NAMES if name.strip() == name and "\ud800" not in name]
    with open("d.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "label"])
        for c, name in enumerate(names):
            for i in range(4):
                table.writerow([picture(Path(f"photos/{c}-{i}.png"), 10 * c + i), guarded(name)])
    before = {str(path) for path in tmp_path.parent.rglob("*") if tmp_path not in path.parents}
    words = ["--engine.progress=none", "--engine.threads=1", "--engine.accelerator=cpu", "--model.backbone=resnet8"]
    assert main(["fit", "d.csv", *words, "--epochs=1", "--data.test=0.25", "--data.validation=0.25", "--out", "run"]) == 0
    assert main(["report", "run", "--text"]) == 0
    assert main(["predict", "run", "photos", "--out", "p.csv", "--sets", "0.9"]) == 0
    assert main(["export", "run", "--format", "safetensors"]) == 0
    said = capsys.readouterr()
    assert not set(said.out + said.err) & set("\x00\x1b\x07\u202e")
    assert json.loads(Path("run/model.json").read_text(encoding="utf-8"))["classes"] == sorted(names)
    with open("p.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * len(names)
    assert {unguarded(row["class"]) for row in rows} <= set(names)
    assert "<script>alert" not in Path("run/report.html").read_text(encoding="utf-8")
    assert {str(path) for path in tmp_path.parent.rglob("*") if tmp_path not in path.parents} == before


# A sample of the soak


def test_changed_files_are_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from soak import files, readers

    monkeypatch.setattr(files, "SECONDS", 100)
    work = tmp_path / "work"
    work.mkdir()
    for i in range(6):
        (tmp_path / f"{i}.png").write_bytes(readers.picture("PNG", seed=i))
    found: list[tuple[str, str, str]] = []

    def trying(name: str, reader: readers.Reader) -> Callable[[list[Any], int, bool], None]:
        def use(made: list[Any], which: int, inside: bool) -> None:
            content, back = (reader.inner if inside else files.whole)(reader.seeds[which % len(reader.seeds)])
            end, text = files.one(reader, back(files.changed(content, made)), work, SimpleNamespace(seen=[], armed=False))
            if end not in ("read", "refused"):
                found.append((name, end, text))

        return use

    for name, reader in readers._of_data(tmp_path).items():
        files.drawn(trying(name, reader), 0, 12)
    assert found == []
