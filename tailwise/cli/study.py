"""``tailwise study``: the geometry of what runs have learned."""

from pathlib import Path

from tailwise.cli.parser import FILE, FOLDER, Parser
from tailwise.errors import TailwiseError


def study_parser() -> Parser:
    """Its options."""
    about = "Measure the features of finished runs by shot group: information, spread, angles, drift, Gaussianity."
    parser = Parser(prog="tailwise study", description=about)
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="+", help="folders that fit wrote; each gets a study.json and a section in its report")
    add("--samples", metavar="N", type=int, help="images of each split at most (10,000)")
    add("--out", metavar="FILE", type=Path, help="also write the figures of all runs as one JSON file")
    parser.offers = {"runs": FOLDER, "out": FILE}
    return parser


def study(words: list[str]) -> None:
    """Measure runs, write what was found beside them, and print it side by side."""
    given = study_parser().parse_args(words)
    if len({Path(run).resolve() for run in given.runs}) < len(given.runs):
        raise TailwiseError("study: a run is named twice; name each once")
    from tailwise.report.geometry import text
    from tailwise.train.run import write_json
    from tailwise.train.study import SAMPLES, write_study

    found = {path: write_study(path, SAMPLES if given.samples is None else given.samples) for path in given.runs}
    print(text(found))
    if given.out:
        write_json(given.out, found, "choose another --out")
        print(f"written: {given.out}")
