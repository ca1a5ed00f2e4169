"""`tailwise bench`: its words, its exit code, and what it prints."""

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

import pytest
from commands import Capture, refused

from tailwise.cli import main
from tailwise.report.bench import Row
from tailwise.train import bench as benches


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command hands on, in place of a bench whose second recipe fails where it is asked for."""
    heard: dict[str, Any] = {}

    def bench(patterns: Sequence[str], **options: Any) -> list[Row]:
        heard.update(options, patterns=list(patterns))
        return [Row("mine", {}, []), *(Row(name, {}, [], ["seed 0: it broke", "seed 1: it broke"]) for name in patterns[1:])]

    monkeypatch.setattr(benches, "bench", bench)
    return heard


def test_recipes_seeds_and_any_key_of_a_recipe_are_handed_on(given: dict[str, Any], capsys: Capture) -> None:
    assert (
        main(
            [
                "bench",
                "digits_lt/*",
                "--optim.lr",
                "0.05",
                "--seeds",
                "2",
                "--jobs=4",
                "--minutes",
                "1.5",
                "--out",
                "o",
                "--epochs=1",
            ]
        )
        == 0
    )
    assert given["patterns"] == ["digits_lt/*"]
    assert (list(given["seeds"]), given["out"], given["jobs"], given["minutes"]) == ([0, 1], "o", 4, 1.5)
    assert given["overrides"] == ["--optim.lr=0.05", "--epochs=1"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("| method | claimed | n |")
    assert printed[-1] == "tables: o/table.md, o/table.html"


def test_three_seeds_one_job_and_the_folder_bench_are_the_defaults(given: dict[str, Any]) -> None:
    assert main(["bench", "digits_lt/ce"]) == 0
    assert (list(given["seeds"]), given["out"], given["jobs"], given["minutes"], given["overrides"]) == (
        [0, 1, 2],
        "bench",
        1,
        inf,
        [],
    )


def test_failed_runs_end_the_command_with_their_number_after_the_table(given: dict[str, Any], capsys: Capture) -> None:
    assert main(["bench", "one", "two"]) == 2
    printed = capsys.readouterr()
    assert "- two, seed 1: it broke." in printed.out.splitlines()
    assert printed.err == "tailwise: bench: 2 of the runs failed; the table says which and why\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: RECIPE"),
        (["digits_lt/ce", "--seeds", "0"], "bench: --seeds and --jobs must be at least 1"),
        (["digits_lt/ce", "--jobs", "-1"], "bench: --seeds and --jobs must be at least 1"),
        (["digits_lt/ce", "--seeds", "few"], "argument --seeds: invalid int value: 'few'"),
        (["digits_lt/gmll"], "bench: no recipe 'digits_lt/gmll'; did you mean digits_lt/gml?"),
        (["digits_lt/ce", "digits_ltt/*"], "bench: no recipe 'digits_ltt/*'; did you mean digits_lt/"),
        (["digits_lt/ce", "--out", "FILE/bench"], "FILE/bench: cannot be made (Not a directory); choose another --out"),
    ],
)
def test_a_mistake_is_one_line_and_starts_nothing(tmp_path: Path, capsys: Capture, words: list[str], said: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert said.replace("FILE", str(file)) in refused(capsys, "bench", *(word.replace("FILE", str(file)) for word in words))


def test_an_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt("give the same command again")

    monkeypatch.setattr(benches, "bench", interrupted)
    assert main(["bench", "digits_lt/ce"]) == 130
    assert capsys.readouterr().err == "tailwise: interrupted; give the same command again\n"


def test_help_names_every_option(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("usage: tailwise bench", "RECIPE", "--seeds", "--out", "--jobs", "--minutes"))
