"""``tailwise doctor``: known failures, looked for in what a run measured."""

from pathlib import Path

from tailwise.cli.parser import FILE, FOLDER, Parser
from tailwise.errors import TailwiseError


def doctor_parser() -> Parser:
    """Its options."""
    about = "Look for known failures of long-tailed training in what runs measured, finished or not. Changes nothing."
    parser = Parser(prog="tailwise doctor", description=about)
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="+", help="folders that fit wrote")
    add("--json", metavar="FILE", type=Path, help="also write all of it, by run")
    parser.offers = {"runs": FOLDER, "json": FILE}
    return parser


def doctor(words: list[str]) -> None:
    """Print what is wrong with runs, what is not, and what was not measured; also write it."""
    options = doctor_parser().parse_args(words)
    if options.json and options.json.is_dir():
        raise TailwiseError(f"doctor: --json {options.json} is a folder; name a file, such as {options.json / 'doctor.json'}")
    from tailwise.report.doctor import text
    from tailwise.train.diagnosis import diagnosis
    from tailwise.train.run import Run, write_json

    found = {str(run.path): diagnosis(run) for run in map(Run, options.runs)}
    print("\n\n".join(text(called, checks) for called, checks in found.items()))
    if options.json:
        write_json(options.json, found, "choose another --json")
        print(f"written: {options.json}")
