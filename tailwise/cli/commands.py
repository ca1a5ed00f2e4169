"""The commands of the command line, each said once: dispatch, the help page and completion are made of this table."""

from collections.abc import Callable
from typing import NamedTuple

from tailwise.cli import completion, convert, data, doctor, export, fit, look, predict, study
from tailwise.cli.parser import Parser


class Command(NamedTuple):
    """A word after ``tailwise``."""

    takes: str
    does: str  # in one line of the help page
    parser: Callable[[], Parser]
    run: Callable[[list[str]], None]
    keys: bool = False  # whether it takes the keys of a recipe as options


COMMANDS = {
    "data": Command("SOURCE", "look before training: classes, duplicates, damaged files", data.data_parser, data.data),
    "fit": Command("SOURCE", "train a recogniser and judge it; writes a run folder", fit.fit_parser, fit.fit, keys=True),
    "evaluate": Command("RUN", "judge a trained run again", look.evaluate_parser, look.evaluate),
    "report": Command("RUN...", "print a run's card or a table of several; write a page", look.report_parser, look.report),
    "doctor": Command("RUN...", "name what went wrong in training", doctor.doctor_parser, doctor.doctor),
    "study": Command("RUN...", "measure what the features know and how they lie", study.study_parser, study.study),
    "recipes": Command("", "list the recipes inside the package", look.recipes_parser, look.recipes),
    "bench": Command("RECIPE...", "train recipes over seeds for one table", fit.bench_parser, fit.bench, keys=True),
    "predict": Command("RUN PATH...", "label images, or their pixels", predict.predict_parser, predict.predict),
    "export": Command("RUN", "write a model as one file: ONNX, torch, safetensors", export.export_parser, export.export),
    "convert": Command("FILE", "read a published checkpoint of BCL, GML, ProCo", convert.convert_parser, convert.convert),
    "completion": Command(
        "SHELL", "make TAB complete all this in your shell", completion.completion_parser, completion.completion
    ),
}

_LISTED = "\n".join(f"  {f'{name} {command.takes}':20}{command.does}".rstrip() for name, command in COMMANDS.items())
USAGE = f"""usage: tailwise COMMAND ...

Train, judge and ship recognisers on long-tailed data.

{_LISTED}

  tailwise COMMAND --help    options of a command
  tailwise --version

examples:
  tailwise fit photos/ --max-minutes 30
  tailwise fit digits --imbalance-factor 50 --objective LogitAdjusted
  tailwise bench 'digits_lt/*' --seeds 3 --out bench
"""
