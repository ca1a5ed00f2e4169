"""The command line: ``tailwise fit | evaluate | report | recipes | bench | predict``."""

import os
import sys
from collections.abc import Callable, Sequence

from tailwise.cli import convert, data, export, fit, look, predict
from tailwise.types import TailwiseError

USAGE = """usage: tailwise COMMAND ...

Train, judge and ship recognisers on long-tailed data.

  data SOURCE    look before training: classes, duplicates, damaged files, what to do
  fit SOURCE     train a recogniser and judge it; writes a run folder
  evaluate RUN   judge a trained run again
  report RUN...  print a run's card or a table of several; --html FILE writes a page, --text how to repeat
  recipes        list the recipes inside the package
  bench RECIPE…  train recipes over seeds and write one table of them
  predict RUN…   label images, or their pixels, with a trained run
  export RUN     write its model as one file: ONNX, torch, safetensors
  convert FILE   read a published checkpoint of BCL, GML or ProCo

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
        "data": data.data,
        "fit": fit.fit,
        "evaluate": look.evaluate,
        "report": look.report,
        "recipes": look.recipes,
        "bench": fit.bench,
        "predict": predict.predict,
        "export": export.export,
        "convert": convert.convert,
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


def _version(words: list[str]) -> None:
    from importlib.metadata import version

    print(version("tailwise"))


def script() -> None:
    """What the installed command runs."""
    sys.exit(main())
