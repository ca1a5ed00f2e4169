"""``tailwise predict``."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tailwise.cli.known import PRIOR
from tailwise.cli.parser import FILE, FOLDER, Parser
from tailwise.errors import TailwiseError

EXAMPLES = """examples:
  tailwise predict RUN photos/ --out predictions.csv --top 3
  tailwise predict RUN sites/ --out predictions.csv --prior estimate --per-group
  tailwise predict RUN photos/ --out predictions.parquet --sets 0.9 --abstain
  tailwise predict RUN street.jpg --out masks"""


def predict_parser() -> Parser:
    """Its options; those of one kind of run alone are in a group each, the last two."""
    parser = Parser(
        prog="tailwise predict",
        usage="tailwise predict RUN PATH... --out OUT [options]",
        description="Classify images, or label their pixels, with a trained run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="the folder that fit wrote")
    add("paths", metavar="PATH", nargs="*", help="images, folders of them at any depth, or a .csv with a column path")
    add("--out", metavar="OUT", required=True, help="a .csv, .jsonl or .parquet file; of a run for pixels a folder")
    add = parser.add_argument_group("runs that classify images").add_argument
    add("--top", metavar="K", type=int, help="the K likeliest classes of each image; default 1, of several labels none")
    add(
        "--prior",
        metavar="P",
        help="class shares: uniform (default; of several labels train), train, estimate, FILE.csv (class,share)",
    )
    add("--per-group", metavar="COLUMN", nargs="?", const="", help="estimate for each folder, or by a column of the .csv")
    add("--sets", metavar="S", nargs="?", const=0.9, type=float, help="sets that hold the true class so often; 0.9")
    add("--abstain", metavar="R", nargs="?", const=0.05, type=float, help="mark what looks like no class; false alarms 0.05")
    add("--batch", metavar="N", type=int, help="images at once; default 64")
    add("--overwrite", action="store_true", default=None, help="replace the file that --out names")
    add = parser.add_argument_group("runs that label pixels").add_argument
    add("--no-overlay", dest="overlay", action="store_false", default=None, help="masks only")
    add("--window", metavar="HxW", help="what the model sees at once, 512x512, or whole; default: the run's")
    add("--stride", metavar="HxW", help="between windows; default two thirds of a window")
    add("--scales", metavar="S", nargs="+", type=float, help="sizes that are averaged, such as 0.75 1 1.25")
    add("--flip", action="store_true", default=None, help="average with the mirrored image")
    parser.offers = {"run": FOLDER, "paths": FILE, "out": FILE, "prior": PRIOR}
    return parser


def predict(words: list[str]) -> None:
    """Write a table of classes of images, or masks of their pixels."""
    parser = predict_parser()
    options = {name: value for name, value in vars(parser.parse_args(words)).items() if value is not None}
    run, paths, out = (options.pop(name) for name in ("run", "paths", "out"))
    if not paths:
        raise TailwiseError("predict: no images given; name images or folders after the run, before --per-group and the like")
    from tailwise.predict import labels_pixels

    for_pixels = labels_pixels(run)
    images, pixels = parser._action_groups[-2:]
    others = images if for_pixels else pixels
    if wrong := [action for action in others._group_actions if action.dest in options]:
        kind = "labels pixels" if for_pixels else "classifies images"
        raise TailwiseError(f"predict: {run} {kind}, where {wrong[0].option_strings[0]} means nothing; leave it out")
    if for_pixels:
        _segment(run, paths, out, options)
    else:
        _classify(run, paths, out, options)


def _segment(run: str, paths: list[str], out: str, options: dict[str, Any]) -> None:
    from tailwise.predict import segment

    made: dict[str, Callable[[Any], Any]] = {"scales": tuple, "window": _sides, "stride": _sides}
    options = {name: made[name](value) if name in made else value for name, value in options.items()}
    done = segment(run, paths, out, **options)
    skipped = f"; {len(done.skipped)} skipped, see {done.out}/skipped.csv" if done.skipped else ""
    print(f"{done.images} masks in {done.out}{skipped}")


def _classify(run: str, paths: list[str], out: str, options: dict[str, Any]) -> None:
    from tailwise.predict import classify

    if "per_group" in options:
        listed = [path for path in paths if Path(path).suffix.lower() == ".csv"]
        if (column := options["per_group"]) and not listed:
            raise TailwiseError(f"predict: --per-group {column} is a column of a .csv, and none was given; leave {column} out")
        options["per_group"] = column or ("group" if listed else "folder")
        options.setdefault("prior", "estimate")
    done = classify(run, paths, out, **options)
    print(f"{done.images} images in {done.out}, {done.summary}")
    if done.skipped:
        print(f"{len(done.skipped)} images could not be read; they are listed in {done.unread}")


def _sides(text: str) -> Any:
    """``512x640`` or ``512`` as height and width; a word as it is."""
    if text in ("run", "whole"):
        return text
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise TailwiseError(f"predict: --window and --stride are HxW such as 512x512, got {text!r}")
    return int(sides[0]), int(sides[-1])
