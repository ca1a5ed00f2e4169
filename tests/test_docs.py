"""The documentation builds without a warning, loads nothing from elsewhere, and every command in it exists."""

import contextlib
import functools
import importlib.util
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import pytest

import tailwise
from tailwise.cli import USAGE, main
from tailwise.train import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = {line.split()[0] for line in re.findall(r"^  ([a-z]+ .*)$", USAGE, re.MULTILINE) if not line.startswith("tailwise")}
PLACEHOLDER = re.compile(r"[A-Z]{2,}|…|\.\.\.|[{}\[\]]")
"""What stands for something else in a command: DATA, {a,b}, […]."""


def commands(markdown: str) -> Iterator[str]:
    """The lines that begin with ``tailwise`` in blocks of code, and what does inside a sentence."""
    fences = r"^```[a-z]*\n(.*?)^```"
    for block in re.findall(fences, markdown, re.MULTILINE | re.DOTALL):
        lines = block.replace("\\\n", " ").splitlines()
        yield from (found[1] for line in lines if (found := re.match(r"(?:\$ |[A-Z_]+=\S+ )?(tailwise .*)", line)))
    for spoken in re.findall(r"`(tailwise [^`]+)`", re.sub(fences, "", markdown, flags=re.MULTILINE | re.DOTALL)):
        yield " ".join(spoken.split())


@functools.cache
def options(command: str) -> set[str]:
    """The options that the help of a command names."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        assert main([command, "--help"]) == 0
    return set(re.findall(r"--[a-zA-Z][\w.-]*", printed.getvalue()))


class Understood(Exception):
    """Raised in the place of training."""


def understand(source: str | None = None, *, recipe: str | None = None, overrides: Sequence[str], **_: object) -> None:
    """In the place of `tailwise.train.fit.fit`: reads the recipe with its options, and no more."""
    parse.resolve(parse.read(recipe) if recipe else {}, overrides)
    raise Understood


def problem(line: str) -> str | None:
    """What is wrong with a command of the documentation."""
    words = shlex.split(line, comments=True)[1:]
    if not words or words[0] in ("COMMAND", "--help", "--version"):
        return None
    command = words[0]
    if command not in COMMANDS:
        return f"no command {command}"
    if command == "fit" and not PLACEHOLDER.search(line) and not {"--help", "--resume"} & set(words):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.suppress(Understood):
            assert main(words) == 2
        return said.getvalue() or None
    given = {word.split("=")[0] for word in words[1:] if re.match(r"--[a-zA-Z]", word) and "." not in word}
    of_recipes = {"--sampler", "--schedule", "--post_hoc"} if command in ("fit", "bench") else set()
    strange = given - options(command) - of_recipes
    return f"{command} has no option {min(strange)}" if strange else None


@pytest.fixture(autouse=True)
def _nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the loss that the text writes is there to be named."""
    howto = (ROOT / "docs" / "howto.md").read_text(encoding="utf-8")
    (loss,) = (block for block in re.findall(r"```python\n(.*?)```", howto, re.DOTALL) if "(Objective)" in block)
    (tmp_path / "mine.py").write_text(loss, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(import_module("tailwise.train.fit"), "fit", understand)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists(page: Path) -> None:
    found = {line: problem(line) for line in commands(page.read_text(encoding="utf-8"))}
    assert {line: why for line, why in found.items() if why} == {}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("tailwise fti digits", "no command fti"),
        ("tailwise fit digits --epoch 3", "no option 'epoch'; did you mean epochs?"),
        ("tailwise fit digits --model.backbones resnet8", "backbone"),
        ("tailwise fit digits --objective LogitAdjusted --objective.tua 1", "tau"),
        ("tailwise report runs/a --texts", "report has no option --texts"),
        ("tailwise fit photos/ --objective LogitAdjusted --objective.tau 1.5 --data.validation 0", None),
    ],
)
def test_the_check_finds_what_is_wrong(line: str, why: str | None) -> None:
    found = problem(line)
    assert (found is None) == (why is None), found
    assert why is None or why in str(found)


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    block = "$ tailwise fit a/ \\\n  --epochs 3\nPYTHONPATH=. tailwise fit b\npip install .\n"
    text = f"Run `tailwise report\nRUN`.\n\n```\n{block}```\n"
    assert list(commands(text)) == ["tailwise fit a/    --epochs 3", "tailwise fit b", "tailwise report RUN"]


def test_examples_in_the_text_can_be_compiled() -> None:
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            if not block.startswith("--8<--"):
                compile(block, str(page), "exec")


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings_handlers")),
    reason="needs mkdocs",
)
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    from markdown import Markdown

    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    assert {"index.html", "tutorial/index.html", "api/objectives/index.html"} <= {str(p.relative_to(tmp_path)) for p in pages}
    loaded = r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//"
    assert [path for path, text in pages.items() if re.search(loaded, text)] == []
    sheets = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.css")]
    assert not any(re.search(r"url\([\"']?(?:https?:)?//", sheet) for sheet in sheets)
    names = runpy.run_path(str(ROOT / "docs" / "hooks.py"))["Names"](Markdown()).known
    shown = {name for text in pages.values() for name in re.findall(r'<h\d id="?(tailwise\.[\w.]+)', text)}
    assert sorted(set(names.values()) - shown) == []  # the reference has what the text may link to
    assert set(tailwise.__all__) - {"losses", "metrics"} <= {name.rpartition(".")[2] for name in shown}
    for place in ("predict.classify", "integrations.sklearn.TailwiseClassifier", "models.published.convert", "export.export"):
        assert f"tailwise.{place}" in shown
    linked = re.findall(r"<a [^>]*href=\"([^\"]+)\"[^>]*><code>(\w+)</code>", pages[tmp_path / "examples" / "index.html"])
    assert ("../api/integrations/#tailwise.integrations.huggingface.TaskHooks", "TaskHooks") in linked
    assert "class Net(nn.Module)" in re.sub(r"<[^>]+>", "", pages[tmp_path / "examples" / "index.html"])
