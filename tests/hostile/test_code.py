"""Nothing that a file says is run: not by what reads it, nor by what the sources could be made to do."""

import ast
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tailwise
from tailwise import conformal
from tailwise.data import open_source
from tailwise.models import Network, Saved, save
from tailwise.models.backbones import build
from tailwise.models.published import convert
from tailwise.models.weights_file import read_tensors
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
