"""What bash, zsh and fish make of the script of ``tailwise completion``: as a user's TAB would ask them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from commands import Capture, refused

from tailwise.cli import known, main
from tailwise.cli.commands import COMMANDS
from tailwise.cli.completion import SHELLS

ASK = """source "$1"; shift
COMP_WORDS=(tailwise "$@"); COMP_CWORD=$#
_shtab_tailwise
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""What readline does: all words so far, the last one unfinished."""

CASES = [
    ("ex", {"export"}),
    ("", set(COMMANDS)),
    ("--v", {"--version"}),
    ("export ", {"runs", "my photos"}),  # folders alone
    ("export runs/", {"runs/a", "runs/b"}),
    ("export runs/a --format ", {"onnx", "torch", "safetensors"}),
    ("export runs/a --format on", {"onnx"}),
    ("export --over", {"--overwrite"}),
    ("fit ", {*known.sources(), "runs", "my photos", "mine.yaml"}),
    ("fit di", {"digits"}),
    ("fit my", {"my photos"}),
    ("fit digits --objective Logit", {"LogitAdjusted"}),
    ("fit digits --optim.l", {"--optim.lr"}),
    ("fit digits --optim.rule ", {"sgd", "adamw"}),
    ("fit digits --sampler S", {"Shuffled", "SquareRoot"}),
    ("fit --recipe digits_lt/gm", {"digits_lt/gml"}),
    ("fit --recipe cam", {"camvid/", "camvid_short/"}),  # not bcl, bcl, ce, ce, …
    ("fit --recipe mi", {"mine.yaml"}),
    ("fit --resume runs/a", {"runs/a"}),
    ("bench mine.yaml digits_lt/gm", {"digits_lt/gml"}),
    ("bench mine.yaml --data.profile ", {"exp", "step"}),
    ("predict runs/a my --prior un", {"uniform"}),
    ("predict runs/a one.jpg mi", {"mine.yaml"}),
    ("report runs/a runs/", {"runs/a", "runs/b"}),
    ("convert some.pth --from ", {"bcl", "gml", "proco"}),
    ("completion ", set(SHELLS)),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A script for every shell, written as a user would."""
    found = {}
    for shell in SHELLS:
        found[shell] = tmp_path_factory.mktemp("scripts") / f"tailwise.{shell}"
        with pytest.MonkeyPatch.context() as patch, found[shell].open("w", encoding="utf-8") as file:
            patch.setattr("sys.stdout", file)
            assert main(["completion", shell]) == 0
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with something to complete."""
    for name in ("runs/a", "runs/b", "my photos"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(("line", "expected"), CASES)
@pytest.mark.usefixtures("here")
def test_bash_completes(scripts: dict[str, Path], line: str, expected: set[str]) -> None:
    words = ["bash", "-c", ASK, "bash", str(scripts["bash"]), *line.split(" ")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert set(done.stdout.splitlines()) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_read_without_an_error(scripts: dict[str, Path], shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    done = subprocess.run([shell, "-n", str(scripts[shell])], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_a_script_is_whole_and_starts_no_python(scripts: dict[str, Path]) -> None:
    for script in scripts.values():
        text = script.read_text(encoding="utf-8")
        assert all(f"{word}" in text for word in (*COMMANDS, *known.recipes(), *known.objectives(), "optim.lr", "max-minutes"))
        assert "python" not in text
    assert '"*:folders that fit wrote:_files -/"' in scripts["zsh"].read_text(encoding="utf-8")  # every RUN, not the first


def test_another_shell_is_refused(capsys: Capture) -> None:
    assert "invalid choice: 'csh' (choose from" in refused(capsys, "completion", "csh")
    assert "required: SHELL" in refused(capsys, "completion")
