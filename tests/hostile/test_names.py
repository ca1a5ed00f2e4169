"""Class names of anybody, in the terminal, the report, the card, and through a whole run."""

import csv
import json
from pathlib import Path

import pytest
import torch
from commands import Capture, picture

from tailwise.cli import main
from tailwise.data.cells import guarded, unguarded
from tailwise.errors import visible
from tailwise.types import TailwiseError

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
