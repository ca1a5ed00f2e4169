"""Every part of the soak, one after the other, then docs/reliability.md: hours on a small machine.

python -m soak [PART ...]

A part that misses a promise does not stop the others; the process then ends with 1. Options of a part are those of
``python -m soak.PART``.
"""

import subprocess
import sys
from pathlib import Path

from soak.page import PARTS

ROOT = Path(__file__).parent.parent


def main(asked: list[str]) -> int:
    """Run what was ``asked`` for, everything if nothing was; 1 where a promise was missed or a part failed."""
    if unknown := sorted(set(asked) - set(PARTS)):
        print(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    missed = []
    for part in asked or PARTS:
        print(f"== {part}", flush=True)
        if subprocess.run([sys.executable, "-m", f"soak.{part}"], cwd=ROOT).returncode:
            missed.append(part)
    subprocess.run([sys.executable, "-m", "soak.page"], cwd=ROOT, check=True)
    if missed:
        print(f"not all promises were kept: {', '.join(missed)}", file=sys.stderr)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
