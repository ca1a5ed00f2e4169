"""The command line: what each command prints, its exit code, and its help."""

import shutil
import sys
from pathlib import Path

import pytest
from commands import OWN, QUIET, TINY, Capture, photos, refused

from tailwise.cli import main
from tailwise.train.parse import shipped


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["fit", "digits", "--objective", "LogitAdjusted", "--objective.tau", "1.5", *TINY, "--out", str(out)]) == 0
    return out


def test_a_fit_prints_its_card_and_folder(tmp_path: Path, run: Path, capsys: Capture) -> None:
    out = tmp_path / "run"
    assert main(["fit", *QUIET, "--optim.lr", "0.05", str(photos(tmp_path / "d")), *OWN, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "balanced accuracy" in printed.out
    assert printed.out.splitlines()[-1] == f"run folder: {out}"
    assert "lr: 0.05" in (out / "recipe.yaml").read_text()
    assert "tau: 1.5" in (run / "recipe.yaml").read_text()  # an option after its objective
    assert not (out / "data_issues.csv").exists()


def test_the_default_folder_is_named_after_source_recipe_and_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--recipe", "digits_lt/la", "--optim.lr", "0.05", *TINY, "--seed", "3"]) == 0
    assert (tmp_path / "runs" / "digits-la-3" / "result.json").is_file()
    assert "exists already" in refused(capsys, "fit", "--recipe", "digits_lt/la", *TINY, "--seed", "3")


def test_an_existing_run_is_kept_unless_told_otherwise(tmp_path: Path, run: Path, capsys: Capture) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    words = ["fit", "digits", *TINY, "--out", str(copy)]
    before = (copy / "result.json").read_bytes()
    assert "exists already; choose another --out, continue with --resume, or pass --overwrite" in refused(capsys, *words)
    assert (copy / "result.json").read_bytes() == before
    assert main([*words, "--overwrite", "--seed", "4"]) == 0
    assert '"seed": 4' in (copy / "result.json").read_text()
    photos(tmp_path / "photos")
    foreign = ["fit", "digits", *TINY, "--out", str(tmp_path / "photos"), "--overwrite"]
    assert "is not a run of tailwise, so it is not overwritten" in refused(capsys, *foreign)
    assert len(list((tmp_path / "photos").rglob("*.png"))) == 16


def test_a_finished_or_foreign_run_is_not_resumed(tmp_path: Path, run: Path, capsys: Capture) -> None:
    assert "is finished already" in refused(capsys, "fit", "--resume", str(run))
    assert "not a run of tailwise" in refused(capsys, "fit", "--resume", str(tmp_path))
    assert "leave the other options out" in refused(capsys, "fit", f"--resume={run}", "--epochs=2")


def test_an_unfinished_run_is_resumed(tmp_path: Path, run: Path, capsys: Capture) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "result.json").unlink()
    assert "no result.json yet; finish the run with `tailwise fit --resume" in refused(capsys, "report", str(copy))
    assert main(["fit", "--resume", str(copy)]) == 0
    assert (copy / "result.json").read_text() == (run / "result.json").read_text()


def test_an_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt("continue with `tailwise fit --resume RUN`")

    monkeypatch.setattr(sys.modules["tailwise.train.fit"], "fit", interrupted)
    assert main(["fit", "digits"]) == 130
    assert "interrupted; continue with `tailwise fit --resume RUN`" in capsys.readouterr().err


def test_evaluate_prints_the_card_and_writes_the_same_result(run: Path, capsys: Capture) -> None:
    before = (run / "result.json").read_bytes()
    assert main(["evaluate", str(run)]) == 0
    assert "balanced accuracy" in capsys.readouterr().out
    assert (run / "result.json").read_bytes() == before


def test_evaluate_refuses_what_is_no_run(tmp_path: Path, capsys: Capture) -> None:
    assert "not a run of tailwise" in refused(capsys, "evaluate", str(tmp_path))
    assert "the following arguments are required: RUN" in refused(capsys, "evaluate")


def test_report_shows_a_card_or_compares(tmp_path: Path, run: Path, capsys: Capture) -> None:
    assert main(["report", str(run)]) == 0
    assert "worst class" in capsys.readouterr().out
    second, other = (shutil.copytree(run, tmp_path / name) for name in ("second", "other"))
    (second / "result.json").write_text((run / "result.json").read_text().replace('"seed": 0', '"seed": 1'))
    text = (run / "result.json").read_text().replace('"recipe": "LogitAdjusted"', '"recipe": "mine"')
    (other / "result.json").write_text(text)
    assert "same recipe and seed" in refused(capsys, "report", str(run), str(other))
    recipe = (run / "recipe.yaml").read_text()
    (other / "recipe.yaml").write_text(recipe.replace("  momentum: 0.9", "  momentum: 0.8"))
    assert main(["report", *map(str, (run, second, other))]) == 0
    lines = capsys.readouterr().out.splitlines()
    two, one = (next(line for line in lines if line.startswith(name)) for name in ("LogitAdjusted", "mine"))
    assert (two.split()[1], one.split()[1]) == ("2", "1")
    assert "±" in two
    assert "±" not in one
    assert "not a run" in refused(capsys, "report", str(run), str(tmp_path))


def test_recipes_lists_all_of_them(capsys: Capture) -> None:
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(shipped())
    assert all(len(line.split()) > 3 for line in lines)
    assert "unrecognized arguments: x" in refused(capsys, "recipes", "x")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_names_the_commands(words: list[str], capsys: Capture) -> None:
    assert main(words) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("fit SOURCE", "evaluate RUN", "report RUN...", "recipes"))


def test_help_of_fit_names_every_main_option_and_the_dotted_ones(capsys: Capture) -> None:
    for words in (["fit", "--help"], ["fit", "digits", "-h"]):
        assert main(words) == 0
        out = capsys.readouterr().out
        options = ("recipe", "objective", "imbalance-factor", "epochs", "seed", "out", "resume", "overwrite", "strict")
        assert all(f"--{name}" in out for name in options)
        dotted = ("optim.lr", "data.validation", "data.views", "model.backbone", "engine.devices", "schedule", "batch_size")
        assert all(f"--{name}" in out for name in dotted)
        assert "share of each class held out of the training set" in " ".join(out.split())


@pytest.mark.parametrize("command", ["evaluate", "report", "recipes"])
def test_every_command_has_help(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: tailwise {command}" in capsys.readouterr().out


def test_version(capsys: Capture) -> None:
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == version("tailwise")
