"""The command line: the commands are in `tailwise.cli.commands`, each a parser and a function that runs it."""

import io
import os
import sys
from collections.abc import Sequence

from tailwise.cli.commands import COMMANDS, USAGE
from tailwise.errors import TailwiseError, Told

__all__ = ["USAGE", "main", "script"]


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for a mistake that the user can mend, 75 for `Told`, 130 when interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path need not be text
    command, *rest = list(sys.argv[1:] if words is None else words) or ["--help"]
    try:
        if command in ("-h", "--help"):
            print(USAGE, end="")
        elif command == "--version":
            from importlib.metadata import version

            print(version("tailwise"))
        elif command in COMMANDS:
            COMMANDS[command].run(rest)
        else:
            import difflib

            near = difflib.get_close_matches(command, COMMANDS, n=1, cutoff=0.4)
            raise TailwiseError(f"no command {command!r}; " + (f"did you mean {near[0]}?" if near else "see tailwise --help"))
        sys.stdout.flush()
    except TailwiseError as error:
        print(f"tailwise: {error}", file=sys.stderr)
        return 2
    except Told as told:
        print(f"tailwise: {told}", file=sys.stderr)
        return told.code
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as interrupt:
        print("; ".join(["tailwise: interrupted", *interrupt.args]), file=sys.stderr)
        return 130
    return 0


def script() -> None:
    """What the installed command runs."""
    sys.exit(main())
