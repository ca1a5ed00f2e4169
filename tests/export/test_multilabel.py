"""The exported model of a multi-label run: what the file says of itself, and that the docs tell how to serve it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from test_export import CLASSES, SERVE, by_onnx, logits, photos, said, seen, shaken

from tailwise.data.views import IMAGENET
from tailwise.export import Exported, export, job
from tailwise.models import network, save
from tailwise.types import TailwiseError

__all__ = ["photos"]

PAGE = SERVE.parents[1] / "export.md"
COUNTS, SAMPLES = [90, 40, 0], 100
CARRIED = [6.0, 2.0, -2.0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished multi-label run's model, untrained."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "cats"
    about = {
        "task": "multilabel",
        "classes": CLASSES,
        "image_size": 32,
        "normalisation": {"mean": IMAGENET.mean, "std": IMAGENET.std},
        "train_counts": COUNTS,
        "train_samples": SAMPLES,
        "carried_log_prior": CARRIED,
    }
    model = shaken(network(backbone="resnet8", classes=len(CLASSES)))
    with torch.no_grad():
        for weights in model.classifier.parameters():
            weights *= 4  # photographs look alike to a network that has learnt nothing
    save(model, folder, about)
    return folder


@pytest.fixture(scope="module")
def exported(run: Path) -> Exported:
    """Of `run`, as ONNX."""
    return export(run)


def test_the_file_says_how_logits_become_probabilities(run: Path, exported: Exported, photos: list[Path]) -> None:
    about = said(exported.path)
    assert about == exported.metadata
    assert (about["task"], about["probabilities"]) == ("multilabel", "sigmoid")
    assert about["output"] == {"name": "logits", "layout": "NC"}
    assert about["to_uniform"] == [-6.0, -2.0, job.NEVER]
    assert (about["train_counts"], about["train_samples"]) == (COUNTS, SAMPLES)
    probability = torch.tensor(about["train_log_odds"])[:2].sigmoid()
    assert probability.tolist() == pytest.approx([0.9, 0.4])
    assert "calibration" not in about
    images = seen(photos)
    for n in (1, 7):
        torch.testing.assert_close(by_onnx(exported.path, images[:n]), logits(run, images[:n]), rtol=0, atol=1e-4)


def test_the_script_of_the_docs_serves_it_with_the_lines_of_the_docs(
    run: Path, exported: Exported, photos: list[Path], tmp_path: Path
) -> None:
    blocks = re.findall(r"^```\{\.python\}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (lines,) = [block for block in blocks if "train_log_odds" in block]
    script = SERVE.read_text(encoding="utf-8")
    end_of_logits = script.index("\n", script.index("    logits = ")) + 1
    changed = tmp_path / "serve.py"
    changed.write_text(script[:end_of_logits] + lines, encoding="utf-8")
    done = subprocess.run([sys.executable, changed, exported.path, *photos], capture_output=True, text=True, check=True)
    shift = -torch.tensor(CARRIED).double() + torch.tensor([0.9, 0.4, 0.5]).double().logit()
    wanted = (logits(run, seen(photos)).double() + shift).sigmoid()
    wanted[:, 2] = 0  # absent from training
    answers = done.stdout.splitlines()
    assert len(answers) == len(photos)
    for path, shares, line in zip(photos, wanted, answers, strict=True):
        where, *labels = line.split("  ")
        assert where == str(path)
        assert [label.split(" ", 1)[1] for label in labels] == [CLASSES[c] for c in range(3) if shares[c] >= 0.5]
        for label in labels:
            share, name = label.split(" ", 1)
            assert float(share) == pytest.approx(float(shares[CLASSES.index(name)]), abs=0.02)  # Pillow rounds differently
    assert {line.count("  ") for line in answers} == {0, 1, 2}  # labels of each


def test_other_formats_say_the_same(run: Path, exported: Exported, tmp_path: Path) -> None:
    done = export(run, "safetensors", tmp_path / "cats.safetensors")
    with safe_open(done.path, "pt") as file:
        assert json.loads(file.metadata()["tailwise"]) == exported.metadata


def test_a_run_of_one_class_per_image_says_softmax(run: Path, tmp_path: Path) -> None:
    about = json.loads((run / "model.json").read_text())
    one = {key: value for key, value in about.items() if key not in ("network", "task", "train_samples")}
    save(network(**about["network"]), tmp_path, one)
    found = export(tmp_path, "safetensors", tmp_path / "one.safetensors").metadata
    assert (found["task"], found["probabilities"]) == ("images", "softmax")
    assert "train_log_odds" not in found
    save(network(**about["network"]), tmp_path, one | {"task": "multilabel"})
    with pytest.raises(TailwiseError, match="says nothing about train_samples; train the run again"):
        export(tmp_path)
