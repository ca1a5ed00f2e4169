"""The command line: ``tailwise fit | evaluate | report``."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from tailwise.types import TailwiseError

USAGE = """usage: tailwise COMMAND ...

Train, judge and ship recognisers on long-tailed data.

  fit SOURCE     train a recogniser and judge it; writes a run folder
  evaluate RUN   judge a trained run again
  report RUN...  print one run's card, or a table that compares runs over seeds
  recipes        list the recipes inside the package
  bench RECIPE…  train recipes over seeds and write one table of them

  tailwise COMMAND --help    options of a command
  tailwise --version

examples:
  tailwise fit digits --imbalance-factor 50 --objective LogitAdjusted
  tailwise fit --recipe digits_lt/gml --seed 1 --out runs/gml-1
  tailwise fit photos/ --objective BCL --epochs 50
  tailwise report runs/*
  tailwise bench 'digits_lt/*' --seeds 3 --out bench
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for a mistake that the user can mend, 130 when interrupted."""
    command, *rest = list(sys.argv[1:] if words is None else words) or ["--help"]
    commands: dict[str, Callable[[list[str]], None]] = {
        "fit": _fit,
        "evaluate": _evaluate,
        "report": _report,
        "recipes": _recipes,
        "bench": _bench,
        "--version": _version,
    }
    try:
        if command in ("-h", "--help"):
            print(USAGE, end="")
        elif command in commands:
            commands[command](rest)
        else:
            import difflib

            near = difflib.get_close_matches(command, commands, n=1, cutoff=0.4)
            raise TailwiseError(f"no command {command!r}; " + (f"did you mean {near[0]}?" if near else "see tailwise --help"))
        sys.stdout.flush()
    except TailwiseError as error:
        print(f"tailwise: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as interrupt:
        print("; ".join(["tailwise: interrupted", *interrupt.args]), file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """Its errors are ours: one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise TailwiseError(f"{self.prog.split()[-1]}: {message}; see {self.prog} --help")


def _fit(words: list[str]) -> None:
    parser = _Parser(prog="tailwise fit", allow_abbrev=False, add_help=False, description="Train a recogniser and judge it.")
    add = parser.add_argument
    add("source", nargs="?", help="digits, cifar10, cifar100, parquet, a folder of class folders, a .txt listing or a .csv")
    add("-h", "--help", action="store_true", help="this page")
    add("--recipe", metavar="NAME", help="a shipped recipe (tailwise recipes) or a YAML file")
    add("--objective", metavar="NAME", help="CrossEntropy, LogitAdjusted, BCL, RCL, ELM, GML, …")
    add("--imbalance-factor", metavar="F", help="make the training set long-tailed: largest over smallest class")
    add("--epochs", metavar="N", help="passes over the training set")
    add("--seed", metavar="N", help="of weights, order and augmentation")
    add("--out", metavar="DIR", help="the run folder; default runs/SOURCE-RECIPE-SEED")
    add("--resume", metavar="RUN", help="continue an interrupted run; takes no other option")
    add("--overwrite", action="store_true", help="replace an older run in the folder")
    add("--strict", action="store_true", help="refuse the data at the first bad image")
    options, dotted = parser.parse_known_args(_joined(words, parser))
    if options.help:
        _fit_help(parser)
        return
    if stray := [word for word in dotted if not word.startswith("--")]:
        raise TailwiseError(f"fit: unexpected {stray[0]!r}; one source only, see tailwise fit --help")
    from tailwise.train.fit import fit, resume

    if options.resume is not None:
        if dotted or any(value for key, value in vars(options).items() if key != "resume"):
            raise TailwiseError("fit --resume takes the run's own recipe; leave the other options out")
        run = resume(options.resume)
    else:
        named = ("objective", "epochs", "seed")
        given = [f"--{name}={getattr(options, name)}" for name in named if getattr(options, name) is not None]
        factor = options.imbalance_factor
        given += [f"--data.imbalance_factor={factor}"] if factor is not None else []
        run = fit(
            options.source,
            recipe=options.recipe,
            out=options.out,
            overwrite=options.overwrite,
            strict=options.strict or None,
            overrides=[*given, *dotted],  # an objective before its options
        )
    from tailwise.report.text import card

    print(card(run.result))
    print(f"run folder: {run.path}")


def _joined(words: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """``--any.key value`` as the one word ``--any.key=value``, so that its value is not taken for the source."""
    joined: list[str] = []
    for word in words:
        key = joined[-1] if joined else ""
        ours = key in parser._option_string_actions
        if key.startswith("--") and "=" not in key and not ours and not word.startswith("--"):
            joined[-1] = f"{key}={word}"
        else:
            joined.append(word)
    return joined


def _fit_help(parser: argparse.ArgumentParser) -> None:
    from tailwise.train import parse

    print(parser.format_help())
    print("any key of the recipe, for example --objective.tau 1.5 or --data.validation 0:\n")
    options = parse.parser().format_help().split("\n\n", 1)[1]
    print(options)


def _evaluate(words: list[str]) -> None:
    parser = _Parser(prog="tailwise evaluate", description="Judge a trained run again and rewrite its result.json.")
    parser.add_argument("run", metavar="RUN", help="the folder that fit wrote")
    path = parser.parse_args(words).run
    from tailwise.report.text import card
    from tailwise.train.fit import evaluate

    print(card(evaluate(path).result))


def _report(words: list[str]) -> None:
    parser = _Parser(prog="tailwise report", description="One run's card, or a table of several with mean ± sd over seeds.")
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folders that fit wrote")
    paths = parser.parse_args(words).runs
    from tailwise.report.text import card, compare
    from tailwise.train.run import Run, by_recipe

    runs = [Run(path) for path in paths]
    print(card(runs[0].result) if len(runs) == 1 else compare(by_recipe(runs)))


def _recipes(words: list[str]) -> None:
    parser = _Parser(prog="tailwise recipes", description="The recipes inside the package.")
    parser.parse_args(words)
    from tailwise.train.parse import read, shipped

    known = shipped()
    wide = max(map(len, known))
    for name in known:
        print(f"{name:{wide}}  {read(name).get('about', {}).get('row', '')}")


def _bench(words: list[str]) -> None:
    about = (
        "Train recipes over seeds and write DIR/table.md and DIR/table.html; what is done is left, what was cut off goes on."
    )
    parser = _Parser(
        prog="tailwise bench", allow_abbrev=False, description=about, epilog="Any key of a recipe goes to all runs."
    )
    add = parser.add_argument
    add("recipes", metavar="RECIPE", nargs="+", help="shipped recipes by name or glob, such as 'digits_lt/*', or YAML files")
    add("--seeds", metavar="N", default=3, type=int, help="seeds 0 to N-1 for each recipe; default 3")
    add("--out", metavar="DIR", default="bench", help="where runs and tables go; default bench")
    add("--jobs", metavar="N", default=1, type=int, help="runs at a time on each GPU, or on the CPU; default 1")
    add("--minutes", metavar="M", default=float("inf"), type=float, help="stop after M minutes; the same command goes on")
    options, dotted = parser.parse_known_args(_joined(words, parser))
    if stray := [word for word in dotted if not word.startswith("--")]:
        raise TailwiseError(f"bench: unexpected {stray[0]!r}; see tailwise bench --help")
    if min(options.seeds, options.jobs) < 1:
        raise TailwiseError("bench: --seeds and --jobs must be at least 1")
    from tailwise.report.bench import markdown
    from tailwise.train.bench import bench

    rows = bench(
        options.recipes,
        seeds=range(options.seeds),
        out=options.out,
        jobs=options.jobs,
        minutes=options.minutes,
        overrides=dotted,
    )
    print(markdown(rows, dotted))
    print(f"tables: {options.out}/table.md, {options.out}/table.html")
    if failures := sum(len(row.failures) for row in rows):
        raise TailwiseError(f"bench: {failures} of the runs failed; the table says which and why")


def _version(words: list[str]) -> None:
    from importlib.metadata import version

    print(version("tailwise"))


def script() -> None:
    """What the installed command runs."""
    sys.exit(main())


if __name__ == "__main__":
    script()
