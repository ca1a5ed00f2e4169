"""Checkpoints of others: tensors are read, foreign objects passed over, and nothing that a file names is called."""

import os
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tailwise.models.weights_file import read_tensors
from tailwise.types import TailwiseError

WEIGHTS = {"module.fc.weight": torch.arange(6.0).reshape(2, 3), "module.fc.bias": torch.zeros(2)}


class Criterion(nn.Module):
    """Stands for a criterion that was pickled whole: a module with an object of its own and its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.estimator = Estimator()


class Estimator:
    """Means and counts."""

    def __init__(self) -> None:
        self.mean, self.logc = torch.randn(7, 4), np.float64(3.0)

    def __setstate__(self, state: object) -> None:
        raise AssertionError("its code ran")


class Calls:
    """Pickled as a call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def written(path: Path, **more: object) -> Path:
    torch.save({"state_dict": WEIGHTS, **more}, path)
    return path


def test_foreign_objects_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = types.ModuleType("loss_of_others")
    for kind in (Criterion, Estimator):
        monkeypatch.setattr(kind, "__module__", theirs.__name__)
        setattr(theirs, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, theirs.__name__, theirs)
    harmless = {"best": np.float64(0.7), "few": np.arange(3)}
    path = written(tmp_path / "a.pth", criterion_scl=Criterion(), **harmless)
    monkeypatch.delitem(sys.modules, theirs.__name__)  # as on a machine without their code
    before = torch.serialization.get_safe_globals()
    tensors = read_tensors(path)
    assert tensors.keys() == {"fc.weight", "fc.bias"}
    assert torch.equal(tensors["fc.weight"], WEIGHTS["module.fc.weight"])
    assert set(torch.serialization.get_safe_globals()) == set(before)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Calls(exec, "open('ran', 'w')"), "builtins.exec"),
        (Calls(os.system, "touch ran"), r"(posix|nt)\.system"),
        (Calls(subprocess.Popen, ["touch", "ran"]), "subprocess.Popen"),
        (Calls(__import__, "this"), "builtins.__import__"),
    ],
    ids=["exec", "os.system", "Popen", "import"],
)
@pytest.mark.parametrize("place", ["beside", "instead"])
def test_a_call_is_refused_by_name_and_not_made(
    call: Calls, name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "a.pth", **{"extra" if place == "beside" else "state_dict": call})
    with pytest.raises(TailwiseError, match=rf"a\.pth: refused, because loading it would call {name}, [^\n]+ alone$"):
        read_tensors(path)
    assert not (tmp_path / "ran").exists()
    assert "this" not in sys.modules


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_raw_pickle_is_refused_without_a_warning(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.dumps({"state_dict": Calls(os.system, "touch ran")}, protocol))
    with pytest.raises(TailwiseError, match=r"a\.pth: [^\n]+$") as caught:  # every warning is an error in these tests
        read_tensors(path)
    assert "pickle protocol" not in str(caught.value)
    assert len(str(caught.value)) - len(str(path)) < 200
    assert "weights_only" not in str(caught.value)  # torch's advice to load it in the unsafe way


def test_a_truncated_file_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pth")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TailwiseError, match=r"not a checkpoint that can be read safely \([^\n]+\)$"):
        read_tensors(path)
