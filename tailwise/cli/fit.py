"""``tailwise fit`` and ``tailwise bench``: one run, and many for one table."""

import os
import time
from contextlib import nullcontext
from pathlib import Path

from tailwise.cli.keys import add_keys
from tailwise.cli.known import OBJECTIVE, RECIPE, SOURCE
from tailwise.cli.parser import FOLDER, Parser, joined
from tailwise.errors import TailwiseError
from tailwise.notice import end, heard, leave

IMPORTS = 120.0
"""Seconds that the imports of a command may take; an older process did other things before."""


def fit_parser() -> Parser:
    """Its options but for the keys of a recipe."""
    parser = Parser(
        prog="tailwise fit",
        usage="tailwise fit [SOURCE] [options] [--KEY VALUE ...]",
        description="Train a recogniser and judge it. KEY is any key of a recipe, as listed after the options.",
        epilog="Options of a class: tailwise fit digits --objective.help LogitAdjusted",
        allow_abbrev=False,
        add_help=False,
    )
    add = parser.add_argument
    of = "a folder of class folders, a .csv, a .txt listing, parquet, digits, cifar10, …"
    add("source", metavar="SOURCE", nargs="?", help=of)
    add("-h", "--help", action="store_true", help="this page")
    add("--recipe", metavar="NAME", help="a shipped recipe (tailwise recipes) or a YAML file")
    add("--objective", metavar="NAME", help="CrossEntropy, LogitAdjusted, BCL, RCL, ELM, GML, …")
    add("--imbalance-factor", metavar="F", help="make the training set long-tailed: largest over smallest class")
    add("--epochs", metavar="N", help="passes over the training set")
    add("--max-minutes", metavar="M", help="bound on the time of the run, judging included; fewer epochs where they do not fit")
    add("--seed", metavar="N", help="of weights, order and augmentation")
    add("--out", metavar="DIR", help="the run folder; default runs/SOURCE-RECIPE-SEED")
    add("--resume", metavar="RUN", help="continue an interrupted run; takes no other option")
    add("--overwrite", action="store_true", help="replace an older run in the folder")
    add("--strict", action="store_true", help="refuse the data at the first bad image")
    parser.offers = {"source": SOURCE, "recipe": RECIPE, "objective": OBJECTIVE, "out": FOLDER, "resume": FOLDER}
    return parser


def fit(words: list[str]) -> None:
    """Train one run, or go on with one, and print its card."""
    parser = fit_parser()
    options, dotted = parser.parse_known_args(joined(words, parser))
    if options.help:
        add_keys(parser)
        parser.print_help()
        return
    if stray := [word for word in dotted if not word.startswith("--")]:
        raise TailwiseError(f"fit: unexpected {stray[0]!r}; one source only, see tailwise fit --help")
    started = _began()
    with heard(leave):  # torch takes seconds to load
        from tailwise.train.fit import fit as train
        from tailwise.train.fit import resume
        from tailwise.train.launch import is_follower

    with nullcontext() if is_follower() else heard(end):  # a follower waits where Python hears nothing
        if options.resume is not None:
            if dotted or any(value for key, value in vars(options).items() if key != "resume"):
                raise TailwiseError("fit --resume takes the run's own recipe; leave the other options out")
            run = resume(options.resume, started)
        else:
            named = ("objective", "epochs", "seed")
            given = [f"--{name}={getattr(options, name)}" for name in named if getattr(options, name) is not None]
            factor, minutes = options.imbalance_factor, options.max_minutes
            given += [f"--max_minutes={minutes}"] if minutes is not None else []
            given += [f"--data.imbalance_factor={factor}"] if factor is not None else []
            run = train(
                options.source,
                recipe=options.recipe,
                out=options.out,
                overwrite=options.overwrite,
                strict=options.strict or None,
                started=started,
                overrides=[*given, *dotted],  # an objective before its options
            )
    if is_follower():
        return
    from tailwise.report import card

    print(card(run.result))
    print(f"run folder: {run.path}")


def _began() -> float:
    """When this command was started, in seconds of `time.monotonic`: before Python's imports, where the system tells."""
    try:
        ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):  # neither Windows nor macOS has it
        age = 0.0
    return time.monotonic() - (age if 0 < age < IMPORTS else 0.0)


def bench_parser() -> Parser:
    """Its options but for the keys of a recipe."""
    about = (
        "Train recipes over seeds and write DIR/table.md and DIR/table.html; what is done is left, what was cut off goes on."
    )
    parser = Parser(
        prog="tailwise bench",
        allow_abbrev=False,
        description=about,
        epilog="Any key of a recipe goes to all runs; see tailwise fit --help.",
    )
    add = parser.add_argument
    add("recipes", metavar="RECIPE", nargs="+", help="shipped recipes by name or glob, such as 'digits_lt/*', or YAML files")
    add("--seeds", metavar="N", default=3, type=int, help="seeds 0 to N-1 for each recipe; default 3")
    add("--out", metavar="DIR", default="bench", help="where runs and tables go; default bench")
    add("--jobs", metavar="N", default=1, type=int, help="runs at a time on each GPU, or on the CPU; default 1")
    add(
        "--cluster", metavar="ADDRESS", help="run on the machines that Ray joins there, or at auto; all of them need to see DIR"
    )
    add("--minutes", metavar="M", default=float("inf"), type=float, help="stop after M minutes; the same command goes on")
    parser.offers = {"recipes": RECIPE, "out": FOLDER}
    return parser


def bench(words: list[str]) -> None:
    """Train recipes over seeds and print their table."""
    parser = bench_parser()
    options, dotted = parser.parse_known_args(joined(words, parser))
    if stray := [word for word in dotted if not word.startswith("--")]:
        raise TailwiseError(f"bench: unexpected {stray[0]!r}; see tailwise bench --help")
    if min(options.seeds, options.jobs) < 1:
        raise TailwiseError("bench: --seeds and --jobs must be at least 1")
    from tailwise.report.bench import markdown
    from tailwise.train.bench import bench as run_all

    rows = run_all(
        options.recipes,
        seeds=range(options.seeds),
        out=options.out,
        jobs=options.jobs,
        cluster=options.cluster,
        minutes=options.minutes,
        overrides=dotted,
    )
    print(markdown(rows, dotted))
    print(f"tables: {options.out}/table.md, {options.out}/table.html")
    if failures := sum(len(row.failures) for row in rows):
        raise TailwiseError(f"bench: {failures} of the runs failed; the table says which and why")
