"""``tailwise evaluate``, ``report``, ``recipes``: what is there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tailwise.cli.parser import FILE, FOLDER, Parser
from tailwise.errors import TailwiseError

if TYPE_CHECKING:
    from tailwise.train.run import Run


def evaluate_parser() -> Parser:
    """Its options."""
    parser = Parser(prog="tailwise evaluate", description="Judge a trained run again and rewrite its result.json.")
    parser.add_argument("run", metavar="RUN", help="the folder that fit wrote")
    parser.offers = {"run": FOLDER}
    return parser


def evaluate(words: list[str]) -> None:
    """Judge a run again and print its card."""
    path = evaluate_parser().parse_args(words).run
    from tailwise.report import card
    from tailwise.train.fit import evaluate

    print(card(evaluate(path).result))


def report_parser() -> Parser:
    """Its options."""
    parser = Parser(prog="tailwise report", description="One run's card, or a table of several with mean ± sd over seeds.")
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="+", help="folders that fit wrote")
    add("--html", metavar="FILE", help="write a page instead: a run's report, or the comparison of several")
    add("--text", action="store_true", help="add what it takes to repeat each run: command, seed, data, versions, recipe")
    parser.offers = {"runs": FOLDER, "html": FILE}
    return parser


def report(words: list[str]) -> None:
    """Print one run's card, or a table of several; or write either as a page, or print how to repeat runs."""
    given = report_parser().parse_args(words)
    from tailwise.train.run import Run

    runs = [Run(path) for path in given.runs]
    with _whole(runs):
        _report(runs, given.html, given.text)


def _report(runs: "Sequence[Run]", html: str | None, text: bool) -> None:
    if html:
        _page(runs, Path(html))
        return
    from tailwise.report import card, compare
    from tailwise.train.run import by_recipe

    print(card(runs[0].result) if len(runs) == 1 else compare(by_recipe(runs)))
    if text:
        from tailwise.report.repeat import repeat

        for run in runs:
            print(repeat(run.path, run.manifest, run.recipe_text))


@contextmanager
def _whole(runs: "Sequence[Run]") -> Iterator[None]:
    """Files of a run that are JSON and say something else than a run says become one line."""
    try:
        yield
    except TailwiseError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        which = f"{runs[0].path}/" if len(runs) == 1 else "one of these runs: "
        raise TailwiseError(
            f"report: {which}result.json, manifest.json or recipe.yaml is damaged ({type(error).__name__}: {error}); "
            f"`tailwise evaluate {runs[0].path}` writes the first anew"
        ) from error


def _page(runs: "Sequence[Run]", file: Path) -> None:
    """Write the page of one run, which judging draws where it is missing, or of several."""
    from tailwise.files import write_whole
    from tailwise.report import comparison
    from tailwise.train.fit import evaluate
    from tailwise.train.run import by_recipe

    if file.is_dir():
        raise TailwiseError(f"report: --html {file} is a folder; name a file, such as {file / 'report.html'}")
    if len(runs) > 1:
        comparison.write(file, by_recipe(runs))
    else:
        page = runs[0].path / "report.html"
        if runs[0].finished and not page.is_file():
            evaluate(runs[0].path)
        if runs[0].result and not page.is_file():
            raise TailwiseError(f"report: {page} could not be drawn; see what `tailwise evaluate {runs[0].path}` says")
        write_whole(file, page.read_bytes(), "choose another --html")
    print(f"page: {file}")


def recipes_parser() -> Parser:
    """It has no options."""
    return Parser(prog="tailwise recipes", description="List the recipes inside the package, each with what it is.")


def recipes(words: list[str]) -> None:
    """List the shipped recipes."""
    recipes_parser().parse_args(words)
    from tailwise.train.parse import read, shipped

    known = shipped()
    wide = max(map(len, known))
    for name in known:
        print(f"{name:{wide}}  {read(name).get('about', {}).get('row', '')}")
