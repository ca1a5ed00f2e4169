"""What is said of processes that a run started, when they end."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from tailwise.errors import Told
from tailwise.train.spawned import spawned
from tailwise.types import TailwiseError

LAUNCHER = SimpleNamespace(procs=[])


@pytest.mark.parametrize("saved", [False, True])
def test_only_what_was_saved_is_said_to_be(tmp_path: Path, saved: bool) -> None:
    if saved:
        (tmp_path / "last.ckpt").touch()
    with pytest.raises(Told) as told, spawned(LAUNCHER, tmp_path):
        raise ProcessExitedException("ended", error_index=1, error_pid=1, exit_code=75)
    assert str(told.value).startswith(f"ended by SIGTERM{', saved' if saved else ''};")


def test_a_process_that_was_killed_and_one_that_raised_are_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(TailwiseError, match=r"process 1 of the run was killed by SIGKILL; continue with"),
        spawned(LAUNCHER, tmp_path),
    ):
        raise ProcessExitedException("ended", error_index=1, error_pid=1, exit_code=-9, signal_name="SIGKILL")
    said = "Traceback\n  File x\ntailwise.errors.TailwiseError: no such thing; name another\n"
    with pytest.raises(TailwiseError, match=r"^no such thing; name another$"), spawned(LAUNCHER, tmp_path):
        raise ProcessRaisedException(said, 0, 1)


def test_alone_it_does_nothing(tmp_path: Path) -> None:
    with spawned(None, tmp_path):
        pass
