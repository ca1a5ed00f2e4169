"""How long it takes to begin: what `import tailwise` adds to `import torch`, and from the command to the first loss.

`python -m benchmarks.startup` prints the medians of five processes each, files in the system's cache.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from torch import Tensor

from benchmarks.measure import Row
from tailwise.losses import CrossEntropy
from tailwise.types import Batch, Output

PROCESSES = 5
BEYOND = "import time, torch; begun = time.time(); import tailwise; print(time.time() - begun)"


class FirstStep(CrossEntropy):
    """Says when the first loss of a run is asked for, and ends the process."""

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """See the class."""
        print(time.time(), flush=True)
        os._exit(0)


def ask(*words: str) -> float:
    """What a Python process prints last; it finds this file as `benchmarks.startup`."""
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run([sys.executable, *words], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return float(done.stdout.splitlines()[-1])


def first_step() -> float:
    """Seconds from the start of `tailwise fit digits` to its first loss."""
    with tempfile.TemporaryDirectory() as folder:
        command = f"-m tailwise.cli fit digits --epochs 1 --objective benchmarks.startup.FirstStep --out {folder}/run"
        begun = time.time()
        return ask(*command.split()) - begun


def measure(device: str = "cpu") -> dict[str, list[Row]]:
    """One table: what, median seconds. The network is too small for its device to matter."""
    lines = {
        "import tailwise, beyond import torch": lambda: ask("-c", BEYOND),
        "tailwise fit digits, from the command to its first loss": first_step,
    }
    first_step()  # fills the system's cache
    medians = {what: statistics.median(once() for _ in range(PROCESSES)) for what, once in lines.items()}
    return {"start-up": [{"what": what, "seconds": value} for what, value in medians.items()]}


if __name__ == "__main__":
    for row in measure()["start-up"]:
        print(f"{row['what']:58} {row['seconds']:.2f} s")
