"""The README's own training loop runs as it stands, and learns."""

import re
from pathlib import Path
from typing import Any

import torch

README = Path(__file__).parents[1] / "README.md"


def test_the_loop_of_the_readme_learns_rare_classes() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    (loop,) = (block for block in blocks if "tailwise.Task(" in block)
    room: dict[str, Any] = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(loop, room)
    assert room["counts"].tolist() == [100 // (c + 1) for c in range(10)]
    assert room["figures"]["many"] is None
    assert room["figures"]["few"] > 0.6
