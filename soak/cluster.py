"""A bench over a Ray cluster of two nodes, one of which is lost in the middle of a run, beside the same bench without one.

python -m soak.cluster
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from soak.record import Part
from tailwise.report.bench import Row
from tailwise.train.bench import bench
from tailwise.train.run import CHECKPOINT, Run

ENGINE = ("--engine.threads=1", "--engine.accelerator=cpu", "--engine.precision=32-true", "--engine.progress=none")
RECIPE = """
data: {imbalance_factor: 5, largest: 40}
model: {backbone: resnet8, classifier: linear}
optim: {lr: 0.05}
epochs: 4
batch_size: 64
objective: slow.OBJECTIVE
"""
SLOW = """
import time
from tailwise.losses import CrossEntropy, LogitAdjusted

class Plain(CrossEntropy):
    def on_epoch(self, epoch, epochs):
        time.sleep(3)

class Adjusted(LogitAdjusted):
    def on_epoch(self, epoch, epochs):
        time.sleep(3)
"""
TIMES = ("seconds", "peak_memory_mb")
"""What two runs of one recipe and seed do not share."""


def folder_of(words: list[str]) -> Path | None:
    """The run folder of a `tailwise fit`, from the words of its process."""
    if "tailwise.cli" not in words:
        return None
    return next((Path(words[at + 1]) for at, word in enumerate(words) if word in ("--out", "--resume")), None)


def running(raylet: psutil.Process) -> Iterator[Path]:
    """The folders of the runs on a node."""
    for process in raylet.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if folder := folder_of(process.cmdline()):
                yield folder


def lose(cluster: Any, node: Any, lost: list[Path]) -> None:
    """Kill all of a node at once, as when a machine loses power, in the middle of a run that has saved an epoch."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    while not lost and raylet.is_running():
        lost += [run for run in running(raylet) if (run / CHECKPOINT).is_file() and not (run / "model.safetensors").is_file()][
            :1
        ]
        time.sleep(0.05)
    raylet.suspend()  # so that it starts nothing while its children go
    for process in [*raylet.children(recursive=True), raylet]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    cluster.remove_node(node, allow_graceful=False)


def over_cluster(recipes: list[str], seeds: int, out: Path) -> tuple[list[Row], list[Path], str]:
    """The rows of a bench over two nodes, the run whose node was lost, and what the bench said."""
    os.environ |= {"RAY_worker_register_timeout_seconds": "1200"}  # a busy machine takes its time
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes(300)
    lost: list[Path] = []
    watch = threading.Thread(target=lose, args=(cluster, node, lost), daemon=True)
    watch.start()
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            rows = bench(recipes, seeds=range(seeds), out=out, cluster=cluster.address, overrides=ENGINE)
    finally:
        cluster.shutdown()
    return rows, lost, said.getvalue()


def plain(rows: list[Row]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The results without what depends on the clock."""
    return [(row.name, [{k: v for k, v in run.items() if k not in TIMES} for run in row.results]) for row in rows]


def main() -> None:
    """The part of the soak."""
    parser = argparse.ArgumentParser(prog="python -m soak.cluster")
    parser.add_argument("--seeds", type=int, default=2)
    seeds = parser.parse_args().seeds
    part = Part("cluster", "A cluster that loses a machine")
    with tempfile.TemporaryDirectory(prefix="tailwise-cluster-") as name:
        here = Path(name).resolve()
        (here / "slow.py").write_text(SLOW, encoding="utf-8")
        sys.path.insert(0, str(here))  # runs import it from there
        recipes = []
        for method in ("Plain", "Adjusted"):
            recipes.append(str(here / f"{method.lower()}.yaml"))
            Path(recipes[-1]).write_text(RECIPE.replace("OBJECTIVE", method), encoding="utf-8")
        rows, lost, said = over_cluster(recipes, seeds, here / "cluster")
        print(said, flush=True)
        steps = [[row["step"] for row in Run(run).metrics() if "loss_epoch" in row] for run in lost]
        alone = bench(recipes, seeds=range(seeds), out=here / "alone", jobs=2, overrides=ENGINE)
    cells, found = len(recipes) * seeds, sum(len(row.results) for row in rows)
    failures = [f"{row.name}, {failure}" for row in rows for failure in row.failures]
    part.add(
        "`tailwise bench` over two Ray nodes survives the loss of a worker node and misses no cell",
        "no cell missing or failed",
        f"{found} of {cells} cells, {len(failures)} failed, {len(lost)} node lost in the middle of a run",
        found == cells and not failures and len(lost) == 1,
        "; ".join(failures) or "all processes of the node were killed at once; both nodes are on one machine, with one disk",
    )
    of_lost = [line for line in said.splitlines() if lost and line.startswith(f"{lost[0].parent.name} seed {lost[0].name}:")]
    resumed = [line.split(": ", 1)[1] for line in of_lost] == [
        *("started", "its machine was lost; it goes on elsewhere", "resumed", "done")
    ]
    part.add(
        "The run that lost its node goes on from its last epoch elsewhere",
        "resumed, no epoch trained twice",
        " → ".join(line.split(": ", 1)[1] for line in of_lost) + f"; epochs logged {[len(s) for s in steps]}",
        resumed and all(len(logged) == len(set(logged)) == 4 for logged in steps),
    )
    unequal = sum(a != b for a, b in zip(plain(rows), plain(alone), strict=True))
    part.add(
        "The table equals that of the same bench without a cluster", "0 rows differ", f"{unequal} rows differ", not unequal
    )
    part.write()


if __name__ == "__main__":
    main()
