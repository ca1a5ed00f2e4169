"""Who may import whom: the table of docs/architecture.md, read from the source; and what `import tailwise` loads."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tailwise

ROOT = Path(tailwise.__file__).parent
BASE = {"errors", "types", "counts", "rng"}
STATE = {"queue", "teacher", "moments"}
WORLD = {"models", "data", "metrics"}
JUDGING = {"task", "priors", "evaluate", "inference"}
JOBS = {"train", "report", "predict", "export", "survey"}
BELOW_LOSSES = BASE | {"distributed", "kernels", "files"} | STATE
BELOW_JOBS = BELOW_LOSSES | {"losses", "posthoc", "calibrate", "conformal", "doctor", "notice"} | WORLD | JUDGING
MAY_IMPORT = {
    "errors": set(),
    "notice": {"errors"},
    "types": {"errors"},
    **{part: {"types"} for part in ("counts", "rng", "distributed", "kernels", "files")},
    **dict.fromkeys(STATE, BASE | {"distributed", "kernels"}),
    "losses": BELOW_LOSSES,
    **dict.fromkeys(WORLD, BASE | {"distributed", "files"}),
    **dict.fromkeys(JUDGING, BASE | {"distributed", "losses", "models", "metrics"} | JUDGING),
    "calibrate": BASE,
    "conformal": BASE | {"files"},
    "posthoc": BASE | {"priors", "metrics", "models"},
    "doctor": BASE,
    **dict.fromkeys(JOBS, BELOW_JOBS | JOBS),
    "integrations": BELOW_JOBS | JOBS,
    **dict.fromkeys(("cli", "__init__"), BELOW_JOBS | JOBS),
}
ONLY_IN = {
    "lightning": {"train", "integrations"},
    "torch.distributed": {"distributed"},
    "timm": {"models"},
    "segmentation_models_pytorch": {"models"},
}
HEAVY = {"lightning", "timm", "segmentation_models_pytorch", "jinja2", "pyarrow", "sklearn", "torchvision", "tensorboard"} | {
    "rich"
}


def named(source: str) -> Iterator[str]:
    """Every module that a source imports, at any level, and every ``torch.distributed`` that it reaches by attribute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield from {"torch.distributed"} & {ast.unparse(node)}


def violations(part: str, source: str) -> list[str]:
    """The imports of a file in ``tailwise.<part>`` that the table forbids."""
    ours = [name for name in named(source) if name.startswith("tailwise.") and name.split(".")[1] != part]
    bad = [name for name in ours if name.split(".")[1] not in MAY_IMPORT[part] and part != "__init__"]
    for library, parts in ONLY_IN.items():
        bad += [name for name in named(source) if f"{name}.".startswith(f"{library}.") and part not in parts]
    return bad


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_the_table_allows(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert part in MAY_IMPORT, f"tailwise/{part} has no row in the table"
    assert violations(part, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("losses", "def late():\n    from tailwise.models import Network"),
        ("metrics", "from tailwise import losses"),
        ("data", "import lightning.pytorch"),
        ("queue", "from torch import distributed"),
        ("losses", "import torch\ntorch.distributed.all_reduce(x)"),
        ("train", "from timm.models import create_model"),
    ],
)
def test_the_check_finds_what_is_forbidden(part: str, source: str) -> None:
    assert violations(part, source)


def test_importing_tailwise_loads_nothing_heavy() -> None:
    script = "import sys, tailwise; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "tailwise" in loaded
    assert not loaded & HEAVY
