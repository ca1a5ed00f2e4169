"""The page that ``tailwise --help`` prints, the help of every command, and what either loads."""

import contextlib
import subprocess
import sys

import pytest
from commands import Capture

from tailwise.cli import USAGE, main
from tailwise.cli.commands import COMMANDS


def test_the_help_page_fits_a_screen_and_names_every_command() -> None:
    lines = USAGE.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    listed = lines[lines.index("") + 3 :]
    assert [line.split()[0] for line in listed[: len(COMMANDS)]] == list(COMMANDS)
    assert all(command.does in USAGE for command in COMMANDS.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_fits_a_terminal(name: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with contextlib.suppress(SystemExit):
        assert main([name, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: tailwise {name}")
    assert max(map(len, lines)) <= 80
    assert COMMANDS[name].parser().prog == f"tailwise {name}"


def test_help_and_completion_load_nothing_heavy() -> None:
    code = (
        "import sys, contextlib, io, tailwise\n"
        "before = set(sys.modules)\n"
        "from tailwise.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    for words in ['--help', '--version', 'fit --help', 'completion zsh']:\n"
        "        assert main(words.split()) == 0\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))\n"
        "print(*sorted(name for name in set(sys.modules) - before if name.startswith('tailwise.')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    libraries, ours = (line.split() for line in done.stdout.splitlines())
    assert "shtab" in libraries
    assert not {"torch", "numpy", "jsonargparse", "yaml", "rich", "lightning", "PIL"} & set(libraries)
    assert {name.split(".")[1] for name in ours} <= {"cli", "errors", "notice"}
