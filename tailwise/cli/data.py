"""``tailwise data``: a look at a data set before training."""

import json
from pathlib import Path

from tailwise.cli.known import SOURCE
from tailwise.cli.parser import FILE, FOLDER, Parser
from tailwise.errors import TailwiseError


def data_parser() -> Parser:
    """Its options."""
    about = "Look at a data set before training: classes, duplicates, damaged files, and what to do. Changes nothing."
    parser = Parser(prog="tailwise data", allow_abbrev=False, description=about)
    add = parser.add_argument
    add("source", metavar="SOURCE", help="what fit takes: a folder of class folders, a .csv, a listing, parquet, digits, …")
    add("--html", metavar="FILE", type=Path, help="also write a page with all classes and pictures of look-alikes")
    add("--json", metavar="FILE", type=Path, help="also write everything that was found")
    add("--ignore", metavar="N", type=int, help="the mask value that stands for no class")
    add("--download", metavar="DIR", default="~/.cache/tailwise", help="where torchvision's data sets are kept")
    parser.offers = {"source": SOURCE, "html": FILE, "json": FILE, "download": FOLDER}
    return parser


def data(words: list[str]) -> None:
    """Print what a data set holds, what is wrong with it and what to do; nothing is trained or changed."""
    options = data_parser().parse_args(words)
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from tailwise.survey import survey
    from tailwise.survey.text import show

    bar = Progress(
        SpinnerColumn(), TextColumn("{task.completed:,} images looked at"), console=Console(stderr=True), transient=True
    )
    bar.disable = not bar.console.is_terminal
    with bar:
        task = bar.add_task("", total=None)
        found = survey(
            options.source,
            download_root=options.download,
            ignore=options.ignore,
            progress=lambda done: bar.advance(task, done),
        )
    show(found.record, Console(highlight=False, emoji=False))
    if options.json:
        _write(options.json, json.dumps(found.record, indent=1, ensure_ascii=False))
    if options.html:
        from tailwise.report.survey import survey_page

        _write(options.html, survey_page(found))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode(errors="replace"))  # a path need not be text
    except OSError as error:
        raise TailwiseError(f"data: {path} cannot be written ({error.strerror}); choose another file") from error
    print(f"written: {path}")
