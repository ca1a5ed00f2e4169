"""Processes that meet at a launcher's store, and what each of them has to count."""

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tailwise import distributed
from tailwise.distributed import Meeting
from tailwise.types import TailwiseError

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # each forked process runs one thread


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def meet(rank: int, world: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    meeting = Meeting(rank, world, "127.0.0.1", port, serves=False)
    heard, sums = [], []
    for message in ("first", "second"):
        if rank == 0:
            meeting.tell(message)
        else:
            heard.append(meeting.hear())
        with meeting.group():
            sums.append(float(distributed.global_sum(torch.tensor(rank + 1.0))))
        assert distributed.world() == 1
    meeting.part()
    torch.save({"heard": heard, "sums": sums}, f"{folder}/{rank}.pt")


def test_processes_meet_again_where_others_have_met_before(tmp_path: Path) -> None:
    """The launcher's store outlives a restart and knows a port that nobody serves any more."""
    port = free_port()
    store = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    store.set("tailwise", f"{free_port()} gone")
    for _ in range(2):
        mp.start_processes(meet, (3, port, str(tmp_path)), nprocs=3, start_method="fork")
        ends = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(3)]
        assert [end["sums"] for end in ends] == [[6.0, 6.0]] * 3
        assert [end["heard"] for end in ends] == [[], ["first", "second"], ["first", "second"]]


def leave(rank: int, world: int, port: int, folder: str) -> None:
    meeting = Meeting(rank, world, "127.0.0.1", port, serves=True)
    if rank == 0:
        meeting._store.wait(["parted 1"])
        return
    meeting._store.set("parted 1", "")
    with pytest.raises(TailwiseError, match="process 0 has ended; it says why"):
        meeting.hear()
    (Path(folder) / "told").touch()


def test_whoever_waits_for_a_process_that_has_ended_is_told(tmp_path: Path) -> None:
    mp.start_processes(leave, (2, free_port(), str(tmp_path)), nprocs=2, start_method="fork")
    assert (tmp_path / "told").exists()
