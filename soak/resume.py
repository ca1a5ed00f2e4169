"""Exact resume: commands that are killed anywhere, told to end, or cannot write, go on as if nothing had been.

python -m soak.resume --kills 60
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from soak import killed
from soak.killed import PLACES, Ended, after, anywhere, command, differences, kill, notify, small_disk, state, steps_saved
from soak.record import Part
from tailwise.train.run import is_locked

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import scenes

ENGINE = ["--engine.progress=none", "--engine.threads=1", "--engine.accelerator=cpu", "--engine.loggers=[]"]
DIGITS = [
    "--data.source=digits",
    "--data.largest=60",
    "--data.imbalance_factor=10",
    "--model.backbone=resnet8",
    "--batch_size=32",
]
SCENES = ["--model.backbone=resnet10t", "--model.width=64", "--data.image_size=32", "--batch_size=4", "--optim.rule=adamw"]
METHODS = {
    "CE": ["--objective=CrossEntropy"],
    "LA": ["--objective=LogitAdjusted"],
    "BCL": ["--objective=BCL"],
    "ProCo": ["--objective=ProCo"],
    "GML with teacher": [],
}
FREQUENT = ["--engine.save_every=0"]
"""A checkpoint after each step: else a run as short as these has them between epochs only."""


class Cell:
    """A method on images or pixels: its command, the run that nobody killed, and what became of those that were."""

    def __init__(self, method: str, kind: str, root: Path, photos: Path) -> None:
        self.name, self.root = f"{method}, {kind}", root / f"{method}-{kind}".replace(" ", "-")
        self.root.mkdir()
        self.commands = 0
        data = DIGITS if kind == "images" else [f"--data.source={photos}", *SCENES]
        if method == "CE" and kind == "pixels":
            data = [*data, "--model.decoder=fpn", "--data.image_size=64"]  # which has dropout
        self.words = ["fit", *METHODS[method], *data, *ENGINE, "--optim.lr=0.01", "--epochs=3"]
        if method == "GML with teacher":
            self.words += ["--recipe", str(with_teacher(self.root, data))]
        started = time.monotonic()
        self.whole = self.run("whole")
        self.seconds = time.monotonic() - started
        assert self.whole.code == 0, f"{self.name}: {self.whole.said}"
        print(f"{self.name}: {self.seconds:.0f} s", flush=True)
        self.state = state(self.root / "whole")
        self.kills = self.runs = 0
        self.wrong: list[str] = []
        self.lost: list[str] = []

    def run(self, folder: str, *more: str, **options: Any) -> Ended:
        """The command in a folder: anew, or what goes on with what is there."""
        out = self.root / folder
        begun = ["fit", "--resume", str(out)] if (out / "recipe.yaml").is_file() else [*self.words, *more, "--out", str(out)]
        self.commands += 1  # two may run at a time
        return command(begun, self.root / f"said-{self.commands}", **options)

    def killed(self, folder: str, times: int, draw: random.Random, places: Counter[str]) -> None:
        """Start a run, kill it so many times, each where it has come to since, and let it end."""
        out, more = self.root / folder, FREQUENT if self.runs % 2 else []
        self.runs += 1
        for _ in range(times):
            before = steps_saved(out)
            if draw.random() < 0.3:
                place, options = "by the clock", {"watch": after(draw.uniform(0, self.seconds))}
            else:
                place, at = anywhere(self.whole.passed, draw)
                options = {"place": place, "at": at, "act": kill}
            ended = self.run(folder, *more, **options)
            if ended.code != -signal.SIGKILL:
                self.wrong += [] if ended.code == 0 else [f"{folder}: exit {ended.code}, {ended.said}"]
                break  # it ended before it came to that place
            self.kills += 1
            places[place] += 1
            if not before <= steps_saved(out):
                self.lost.append(f"{folder}: {place}, {before} -> {steps_saved(out)}")
        else:
            last = self.run(folder, *more)
            self.wrong += [] if last.code == 0 else [f"{folder}: exit {last.code}, {last.said}"]
        if not any(text.startswith(f"{folder}:") for text in self.wrong):
            self.wrong += [f"{folder}: {name}" for name in differences(self.state, state(out))]
        shutil.rmtree(out)

    def told(self, folder: str, draw: random.Random) -> str:
        """What goes wrong where a scheduler's notice comes after some step; empty for nothing."""
        out, step = self.root / folder, draw.randint(1, self.whole.passed["inside a step, after the optimizer"])
        ended = self.run(folder, place="inside a step, after the optimizer", at=step, act=notify)
        lines = killed.last_words(ended.said)
        if ended.code != 75 or len(lines) != 1 or "--resume" not in lines[0]:
            return f"exit {ended.code}, {ended.said}"
        inner = out / "needs" / "teacher"
        saved = steps_saved(inner) + steps_saved(out) if inner.is_dir() else steps_saved(out)
        if saved != step:
            return f"told in step {step}, saved {saved}"
        again = self.run(folder)
        return "" if again.code == 0 and not differences(self.state, state(out)) else f"exit {again.code}, {again.said}"


def with_teacher(root: Path, data: list[str]) -> Path:
    """A recipe of GML whose frozen teacher is trained first."""
    keys = dict(word.removeprefix("--").split("=") for word in data)
    tree: dict[str, Any] = {"epochs": 2, "objective": "CrossEntropy"}
    for key, value in keys.items():
        *above, name = key.split(".")
        inside = tree
        for part in above:
            inside = inside.setdefault(part, {})
        inside[name] = yaml.safe_load(value)
    (root / "teacher.yaml").write_text(yaml.safe_dump(tree))
    saved = {"class_path": "tailwise.models.Saved", "init_args": {"run": "${needs.teacher}"}}
    teacher = {"class_path": "tailwise.teacher.Frozen", "init_args": {"network": saved}}
    gml = {"class_path": "GML", "init_args": {"teacher": teacher, "queue_size": 64}}
    (root / "gml.yaml").write_text(yaml.safe_dump({"needs": {"teacher": str(root / "teacher.yaml")}, "objective": gml}))
    return root / "gml.yaml"


def refusals(cell: Cell, photos: Path) -> dict[str, str]:
    """What goes wrong, by case, where a run cannot be written or is not what it was; empty for nothing."""
    found: dict[str, str] = {}
    middle = {"place": "inside a step, after the optimizer", "at": 4}

    def refused(case: str, words: str, **options: Any) -> None:
        kept = steps_saved(cell.root / case)
        ended = cell.run(case, **options)
        lines = killed.last_words(ended.said)
        one = ended.code == 2 and len(lines) == 1 and words in lines[0]
        found[case] = "" if one and steps_saved(cell.root / case) >= kept > 0 else f"exit {ended.code}, {ended.said[-300:]}"

    def mended(case: str) -> None:
        ended = cell.run(case)
        if ended.code or differences(cell.state, state(cell.root / case)):
            found[case] += f" then exit {ended.code}, {ended.said[-300:]}"

    def begun(case: str) -> Path:
        cell.run(case, **middle, act=kill)
        return cell.root / case

    begun("full disk")
    refused("full disk", "could not be written", place="inside a step, before the loss", at=1, act=small_disk(20_000))
    mended("full disk")

    folder = begun("read-only folder")
    if os.geteuid() == 0:  # whom no permission stops, so another user comes
        refused("read-only folder", "cannot be", before=lambda: os.setuid(65534))
    else:
        folder.chmod(0o555)
        refused("read-only folder", "cannot be")
        folder.chmod(0o755)
    mended("read-only folder")

    begun("second process")

    def beside(pid: int) -> None:
        while not is_locked(cell.root / "second process"):  # the file lies there from the process before
            time.sleep(0.05)
        os.kill(pid, signal.SIGSTOP)
        refused("second process", "another process is writing this run")
        os.kill(pid, signal.SIGCONT)

    first = cell.run("second process", watch=beside)
    found["second process"] += "" if first.code == 0 else f" the first: exit {first.code}, {first.said}"

    text = (begun("other recipe") / "recipe.yaml").read_text()
    (cell.root / "other recipe" / "recipe.yaml").write_text(text.replace("lr: 0.01", "lr: 0.02"))
    refused("other recipe", "optim.lr 0.01, now 0.02")
    (cell.root / "other recipe" / "recipe.yaml").write_text(text)
    mended("other recipe")

    begun("other data")
    image = next((photos / "images" / "train").iterdir())
    image.rename(photos / image.name)
    (photos / "masks" / "train" / image.name).rename(photos / f"mask-{image.name}")
    refused("other data", "train samples 12, now 11")
    (photos / f"mask-{image.name}").rename(photos / "masks" / "train" / image.name)
    (photos / image.name).rename(image)
    mended("other data")
    return found


def kills(part: Part, cells: list[Cell], number: int, draw: random.Random) -> None:
    """Kill until there are as many, in turn over the cells."""
    places: Counter[str] = Counter()
    while places.total() < number:
        cell = min(cells, key=lambda cell: cell.kills)
        cell.killed(f"killed-{cell.runs}", min(3, number - places.total()), draw, places)
        print(f"{places.total()} kills, {cell.name}: {cell.wrong or 'equal'}", flush=True)
    wrong, lost = [text for cell in cells for text in cell.wrong], [text for cell in cells for text in cell.lost]
    found = f"{places.total()} kills in {sum(cell.runs for cell in cells)} runs, {len(wrong)} differences"
    promise, asked = "A run that was killed ends bit-equal to one that was not", f"{number} kills, 0 differences"
    part.add(promise, asked, found, not wrong, "; ".join(wrong)[:500])
    part.add("No kill loses a checkpoint", "0 lost", f"{len(lost)} lost", not lost, "; ".join(lost)[:500])
    part.table(
        "Kills by method", [{"method": c.name, "kills": c.kills, "runs": c.runs, "differences": len(c.wrong)} for c in cells]
    )
    part.table("Kills by place", [{"place": place, "kills": places[place]} for place in [*PLACES, "by the clock"]])


def soak(number: int, notices: int, seed: int, methods: Sequence[str], part: Part) -> None:
    """All of it, in a folder that is deleted afterwards."""
    torch.set_num_threads(1)
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        photos = scenes.folder(root / "photos")
        cells = [Cell(method, kind, root, photos) for kind in ("pixels", "images") for method in methods]
        kills(part, cells, number, draw)
        told = {f"{cell.name} {i}": cell.told(f"told-{i}", draw) for i in range(notices) for cell in [cells[i % len(cells)]]}
        bad = [f"{name}: {text}" for name, text in told.items() if text]
        found = f"{notices - len(bad)} of {notices}"
        asked = f"{notices} of {notices}: exit code 75, one line, saved at that very step, then bit-equal"
        part.add("SIGTERM saves and ends the run at once", asked, found, not bad, "; ".join(bad)[:500])
        asked = "one line, exit 2, the last checkpoint whole, then bit-equal"
        for case, text in refusals(cells[0], photos).items():
            part.add(f"Refused: {case}", asked, text or "so it is", not text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60, metavar="N", help="over 5 methods on images and pixels; default 60")
    parser.add_argument("--notices", type=int, default=10, metavar="N", help="SIGTERMs after a random step; default 10")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of places and times; default 0")
    parser.add_argument("--only", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="METHOD", help="of the five")
    options = parser.parse_args()
    result = Part("resume", "Exact resume")
    soak(options.kills, options.notices, options.seed, options.only, result)
    result.write()
