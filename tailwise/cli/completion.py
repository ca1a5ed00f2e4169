"""``tailwise completion``: what makes a shell complete the command, written from the parsers that the commands use."""

import argparse
import re

from tailwise.cli.parser import Offer, Parser

SHELLS = ("bash", "zsh", "fish")
WHERE = """where to put it; write it again after an upgrade:
  bash  tailwise completion bash > ~/.tailwise.bash
        and in ~/.bashrc: source ~/.tailwise.bash
  zsh   mkdir -p ~/.zfunc; tailwise completion zsh > ~/.zfunc/_tailwise
        and in ~/.zshrc, before compinit: fpath=(~/.zfunc $fpath)
  fish  tailwise completion fish > ~/.config/fish/completions/tailwise.fish"""
BOTH = {
    # Where several folders of names fit, the folders: readline would show gml, gml, gml.
    "bash": """FUNCTION() {
  local names="NAMES"
  local folders="$(compgen -W "$names" -- "$1" | sed 's|/.*|/|' | sort -u)"
  if [[ "$folders" == *$'\\n'* ]]; then echo "$folders"; else compgen -W "$names" -- "$1"; fi
  compgen -f -- "$1"
}""",
    "zsh": """FUNCTION() {
  _alternative "names:name:_multi_parts / '(NAMES)'" 'files:file:_files'
}""",
    "fish": """function FUNCTION
  printf '%s\\n' NAMES
  __fish_complete_path (commandline -ct)
end""",
}
"""Functions that offer names and files."""


def completion_parser() -> Parser:
    """Its options."""
    about = "Print the script that makes a shell complete commands, options and values."
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="tailwise completion", description=about, epilog=WHERE, formatter_class=raw)
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")
    return parser


def completion(words: list[str]) -> None:
    """Print the script of a shell."""
    shell = completion_parser().parse_args(words).shell
    import shtab

    script = shtab.complete(whole(), shell)
    if shell == "zsh":  # which would complete only the first of several paths
        script = re.sub(r'"\(\*\)::?', '"*:', script)
    print(script)


def whole() -> Parser:
    """The parsers of all commands as one, whose arguments say what completes them."""
    from tailwise.cli.commands import COMMANDS
    from tailwise.cli.keys import add_keys

    root = Parser(prog="tailwise", description="Train, judge and ship recognisers on long-tailed data.")
    root.add_argument("--version", action="store_true", help="print the version")
    below = root.add_subparsers()
    for name, command in COMMANDS.items():
        own = command.parser()
        if command.keys:
            add_keys(own)
        for action in own._actions:
            if action.dest in own.offers:
                _mark(action, own.offers[action.dest])
        below.add_parser(name, parents=[own], add_help=False, description=command.does, help=command.does)
    return root


def _mark(action: argparse.Action, what: Offer) -> None:
    """Say it in shtab's words, which knows values or paths; for both, a shell gets a function of ours."""
    import shtab

    if what.words is None:
        action.complete = shtab.FILE if what.paths == "file" else shtab.DIRECTORY  # type: ignore[attr-defined]
    elif what.paths is None:
        action.choices = what.words()
    else:
        function, names = f"_tailwise_{what.words.__name__}_or_file", " ".join(what.words())
        action.complete = {  # type: ignore[attr-defined]
            "bash": function,
            "zsh": function,
            "fish": f"({function})",
            "preamble": {shell: text.replace("FUNCTION", function).replace("NAMES", names) for shell, text in BOTH.items()},
        }
