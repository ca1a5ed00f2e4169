"""For every test: `tests/` is importable (`import tiny`, `from losses import slow`); hypothesis is deterministic."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
settings.register_profile("tailwise", max_examples=30, deadline=None, derandomize=True)
settings.load_profile("tailwise")
