"""Wrong versions of metrics and losses, each of which a test has to notice.

python -m soak.mutants
"""

import argparse
import compileall
import importlib
import multiprocessing
import os
import py_compile
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml

from soak.record import Part

ROOT = Path(__file__).parent.parent
LIST = Path(__file__).with_name("mutants.yaml")
ASKED = 30
LIMIT = 600.0
"""Seconds that the tests of a mutant may take."""
WARM = ("hypothesis.strategies", "scipy.optimize", "scipy.stats", "sklearn.metrics", "torchmetrics.functional")
"""What is imported once for all of them."""


@dataclass(frozen=True)
class Mutant:
    """One wrong version of a file."""

    what: str
    file: str  # below tailwise/
    old: str  # occurs once in the file
    new: str
    tests: tuple[str, ...]  # below tests/

    def applied(self, source: str) -> str:
        """The source with the mistake in it; ValueError unless its place is there once."""
        if source.count(self.old) != 1 or self.old == self.new:
            raise ValueError(f"{self.file}: {self.old!r} occurs {source.count(self.old)} times; mend soak/mutants.yaml")
        return source.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """All of ``soak/mutants.yaml``."""
    groups = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    return [Mutant(file=group["file"], tests=tuple(group["tests"]), **one) for group in groups for one in group["mutants"]]


def verdict(code: int | None, said: str) -> str | None:
    """The test that failed; None where none did, or something else than a test."""
    failed = re.search(r"^FAILED (\S+)", said, re.MULTILINE)
    return failed[1] if code == 1 and failed else None


class Copy:
    """A copy of the package and its tests, in which files may be spoilt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("tailwise", "tests"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        # bytecode that knows its source: by their times, two versions of one second would be the same
        compileall.compile_dir(folder, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        for library in WARM:
            importlib.import_module(library)

    def tests(self, names: tuple[str, ...]) -> tuple[int | None, str]:
        """Exit code and output of these tests, up to the first that fails; without a code where they took too long."""
        said = self.folder / "said.txt"
        process = multiprocessing.get_context("fork").Process(target=_tests, args=(self.folder, names, said))
        process.start()
        process.join(LIMIT)
        process.kill()
        process.join()
        return process.exitcode, said.read_text(encoding="utf-8")

    def caught(self, mutant: Mutant) -> str | None:
        """The test that notices the mutant; None where it survives."""
        path = self.folder / "tailwise" / mutant.file
        source = path.read_text(encoding="utf-8")
        path.write_text(mutant.applied(source), encoding="utf-8")
        try:
            return verdict(*self.tests(mutant.tests))
        finally:
            path.write_text(source, encoding="utf-8")


def _tests(folder: Path, names: tuple[str, ...], said: Path) -> None:
    """In a process of its own, which has the libraries already: the tests of the copy."""
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in [name for name in sys.modules if name.split(".")[0] == "tailwise"]:
        del sys.modules[name]
    where = Path(str(importlib.import_module("tailwise").__file__))
    if where != folder / "tailwise" / "__init__.py":
        os._exit(70)  # the tests would be those of another package
    words = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "-rf", "--tb=line", "--durations=0"]
    code = pytest.main([*words, *(f"tests/{name}" for name in names)])
    sys.stdout.flush()
    os._exit(int(code))


def main() -> None:
    """The part of the soak."""
    parser = argparse.ArgumentParser(prog="python -m soak.mutants")
    parser.add_argument("--only", default="", help="mutants of files whose name has this in it")
    only = parser.parse_args().only
    torch.set_num_threads(1)  # threads would not survive a fork
    part, tried = Part("mutants", "Mistakes are noticed"), [m for m in mutants() if only in m.file]
    with tempfile.TemporaryDirectory(prefix="tailwise-mutants-") as folder:
        copy = Copy(Path(folder).resolve())
        found = []
        for mutant in tried:
            found.append(copy.caught(mutant))
            print(f"{found[-1] or 'SURVIVES'}  {mutant.file}: {mutant.what}", flush=True)
        code, said = copy.tests(tuple(dict.fromkeys(test.removeprefix("tests/") for test in found if test)))
        if code:
            raise SystemExit(f"mutants: tests that noticed a mistake fail without one too\n{said}")
    survived = [f"{mutant.file}: {mutant.what}" for mutant, test in zip(tried, found, strict=True) if test is None]
    part.add(
        "Wrong versions of metrics and losses are each caught by a test of `make test`",
        f"{ASKED} or more, all caught",
        f"{len(tried)} mutants, {len(tried) - len(survived)} caught",
        len(tried) >= ASKED and not survived,
        "; ".join(survived) or "the same tests pass without them; a mutant that only breaks an import does not count",
    )
    rows = [{"file": m.file, "mistake": m.what, "caught by": test or "nothing"} for m, test in zip(tried, found, strict=True)]
    part.table("Mutants", rows)
    part.write()


if __name__ == "__main__":
    main()
