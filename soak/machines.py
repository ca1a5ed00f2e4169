"""Runs of the command in several processes: on one machine, and on two, which are network namespaces with own addresses."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from soak import distance
from soak.plain import PAUSE

ROOT = Path(__file__).parent.parent
HOSTS = {"soak-a": "10.77.0.1", "soak-b": "10.77.0.2"}
"""Two namespaces and their addresses."""
EPOCHS, BATCH = 4, 32
COMMON = [
    *("digits", "--imbalance-factor", "10", "--data.largest", "60", "--epochs", str(EPOCHS), "--objective", "soak.plain.Plain"),
    *("--model.backbone", "test_convnext", "--data.image_size", "32", "--optim.lr", "0.003", "--engine.accelerator", "cpu"),
    *("--engine.precision", "32-true", "--engine.threads", "1", "--engine.progress", "none"),
]
"""A network without batch statistics on 214 digits; 26 more are looked at after each epoch."""
WAIT = 0.5
"""Seconds of each step on two machines; an epoch has six."""
COST = {"seconds", "peak_memory_mb"}


def command(out: Path, processes: int, *more: str) -> list[str]:
    """`tailwise fit` with a global batch of 32 samples, shared by so many processes."""
    return ["fit", *COMMON, "--batch_size", str(BATCH // processes), "--out", str(out), *more]


def environment(**more: str) -> dict[str, str]:
    """Of a run: this repository's modules, one thread."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **more}


def fit(out: Path, processes: int, *more: str) -> None:
    """A run on this machine, in processes that it starts itself."""
    words = command(out, processes, "--engine.devices", str(processes), *more)
    subprocess.run([sys.executable, "-m", "tailwise.cli", *words], env=environment(), check=True, stdout=subprocess.DEVNULL)


def difference(one: Path, other: Path) -> dict[str, Any]:
    """How far two runs are apart: weights and all that a checkpoint holds of the task, the log, and which figures differ."""
    states = [torch.load(run / "last.ckpt", weights_only=True)["state_dict"] for run in (one, other)]
    queue = {key for key in states[0] if key.endswith("queue.rows")}

    def farthest(measure: Callable[[Tensor, Tensor], float], keys: Iterable[str]) -> float:
        return max(measure(states[1][key], states[0][key]) for key in keys)

    apart = {
        "weights": farthest(distance.of_numbers, states[0].keys() - queue),
        "queue": farthest(distance.of_rows, queue),
        "numbers of the queue": farthest(distance.of_numbers, queue),
    }
    logs = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, other)]
    rows = [{(row["step"], key): row[key] for row in log for key in row if key != "step"} for log in logs]
    log = max(abs(rows[0][at] - rows[1][at]) for at in rows[0] if rows[0][at] is not None)
    results = [json.loads((run / "result.json").read_text()) for run in (one, other)]
    figures = [key for key in results[0] if key not in COST and not alike(results[0][key], results[1][key])]
    return {**apart, "log": log, "keys": rows[0].keys() ^ rows[1].keys(), "figures": figures}


def alike(one: Any, other: Any) -> bool:
    """Whether two values of JSON are equal, numbers to 1e-6: calibration errors are means of float32."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return abs(one - other) <= 1e-6 if isinstance(one, float) and isinstance(other, float) else bool(one == other)


@contextmanager
def two_machines() -> Iterator[None]:
    """Two namespaces joined by a cable; needs the right to make them, and raises CalledProcessError without it."""
    ends = dict(zip(HOSTS, ("soakva", "soakvb"), strict=True))

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    try:
        for host in HOSTS:
            ip("netns", "add", host)
        ip("link", "add", "soakva", "type", "veth", "peer", "name", "soakvb")
        for host, address in HOSTS.items():
            ip("link", "set", ends[host], "netns", host)
            ip("-n", host, "addr", "add", f"{address}/24", "dev", ends[host])
            for link in ("lo", ends[host]):
                ip("-n", host, "link", "set", link, "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", host], check=False, stderr=subprocess.DEVNULL)


def torchrun(out: Path, logs: Path, *more: str) -> list[subprocess.Popen[bytes]]:
    """The run on both machines, one process on each, which torchrun starts again up to three times."""
    first = next(iter(HOSTS.values()))
    agents = []
    for at, (host, address) in enumerate(HOSTS.items()):
        words = ["ip", "netns", "exec", host, sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
        words += ["--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{first}:29400", "--max-restarts", "3"]
        words += ["--rdzv-conf", f"is_host={1 - at}", "--local-addr", address, "-m", "tailwise.cli", *command(out, 2, *more)]
        known = environment(GLOO_SOCKET_IFNAME=("soakva", "soakvb")[at], **{PAUSE: str(WAIT)})
        with (logs / f"{host}.log").open("wb") as file:
            agents.append(subprocess.Popen(words, env=known, stdout=file, stderr=file, start_new_session=True))
    return agents


def worker(agent: subprocess.Popen[bytes]) -> int | None:
    """The process that torchrun started on that machine, if it runs."""
    tasks = Path(f"/proc/{agent.pid}/task")
    with suppress(OSError):
        for children in tasks.glob("*/children"):
            for child in children.read_text().split():
                if b"tailwise.cli" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
    return None


def kill_within_epochs(
    agents: Sequence[subprocess.Popen[bytes]], out: Path, order: Sequence[int], patience: float
) -> list[int]:
    """SIGKILL to the processes of these machines, each some steps after another checkpoint; returns the steps saved by then."""
    killed, seen, deadline = list[int](), -1, time.monotonic() + patience
    while len(killed) < len(order) and time.monotonic() < deadline and all(agent.poll() is None for agent in agents):
        time.sleep(0.2)
        with suppress(Exception):  # not there yet
            steps = int(torch.load(out / "last.ckpt", weights_only=True)["global_step"])
            if steps > seen and (victim := worker(agents[order[len(killed)]])):
                time.sleep(2.5 * WAIT)  # the checkpoint is that of an epoch's end, so this is within the next
                os.kill(victim, signal.SIGKILL)
                killed.append(steps)
                seen = steps
    return killed


def ended(agents: Sequence[subprocess.Popen[bytes]], patience: float) -> list[int]:
    """The exit codes; what takes longer is ended."""
    codes = []
    for agent in agents:
        try:
            codes.append(agent.wait(patience))
        except subprocess.TimeoutExpired:
            os.killpg(agent.pid, signal.SIGKILL)
            codes.append(agent.wait())
    return codes
