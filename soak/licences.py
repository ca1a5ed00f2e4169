"""The licence of everything that a user installs with tailwise: a table, and an end with 1 for what nobody has looked at.

python -m soak.licences

What counts is what the installed distributions say of themselves: the field License-Expression, else the classifiers, else the
field License. The tools for work on tailwise itself, of the extras in `OWN`, are not handed on, so they are left out.
"""

import re
import sys
from fnmatch import fnmatch
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

from benchmarks.tables import markdown

OWN = {"dev", "docs", "bench"}

ASKS_FOR_CREDIT = re.compile(
    r"MIT|MIT-CMU|X11|0BSD|BSD|BSD-\d-Clause|\d-Clause BSD|Apache( Software|[- ]2\.0| License v2\.0)?"
    r"|ISC|PSF|PSF-2\.0|Python Software Foundation|Python-2\.0|CNRI-Python|Zlib|Unlicense|CC0-1\.0|BSL-1\.0"
    r"|HPND|Historical Permission Notice and Disclaimer HPND"
)
"""Licences that let anybody use, change and sell, and ask for their notice at most."""

LOOKED_AT = {
    "nvidia-*": (
        r"(LicenseRef-)?NVIDIA[- ]Proprietary( Software)?|Other/Proprietary",
        "CUDA, which torch needs on NVIDIA GPUs; its CPU build does not",
    ),
    "cuda-toolkit": ("", "an empty package that names the libraries of CUDA"),
    "tqdm": (r"MPL-2\.0", "binds who changes its own files, not who uses it"),
    "shtab": (r"MPL-2\.0", "binds who changes its own files, not who uses it"),
    "certifi": (r"MPL-2\.0|Mozilla Public License 2\.0 MPL 2\.0", "binds who changes its own files, not who uses it"),
}
"""Other licences that a person has read: of which distribution, how it is called there, and why it is no trouble."""


def runtime(name: str, extras: frozenset[str]) -> tuple[dict[str, Distribution], set[str]]:
    """What is installed of a distribution, its extras and all that they need, by name; and what of it is not installed."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    lacking: set[str] = set()
    todo = [(name, extra) for extra in ("", *extras)]
    while todo:
        asked, extra = todo.pop()
        key = re.sub(r"[-_.]+", "-", asked).lower()
        if (key, extra) in seen:
            continue
        seen.add((key, extra))
        try:
            found[key] = distribution(asked)
        except PackageNotFoundError:
            lacking.add(key)
            continue
        for needed in map(Requirement, found[key].requires or ()):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                todo += [(needed.name, of) for of in ("", *needed.extras)]
    return found, lacking


def licence(of: Distribution) -> str:
    """What a distribution says that its licence is, as an SPDX expression where it can; empty where it says nothing."""
    about = of.metadata
    if expression := about["License-Expression"]:
        return str(expression)
    stated = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or () if c.startswith("License :: ")]
    known = [re.sub(r" License$| \(ISCL\)$", "", name.removesuffix(" (ISCL)")) for name in stated if name != "OSI Approved"]
    return " AND ".join(known) or " ".join(str(about["License"] or "").split())[:60]


def free(stated: str, also: str = r"(?!)") -> bool:
    """Whether all parts of an expression ask for credit at most or are called as ``also`` says, of alternatives one.

    "A WITH B" is A, as B only adds rights. Brackets are passed over: AND between groups of OR is the stricter reading.
    """
    parts = stated.replace("(", "").replace(")", "").split(" AND ")
    each = [[re.sub(r" WITH .*| [Ll]icen[cs]e$", "", one.strip()) for one in part.split(" OR ")] for part in parts]
    return all(any(ASKS_FOR_CREDIT.fullmatch(one) or re.fullmatch(also, one) for one in group) for group in each)


def looked_at(name: str, stated: str) -> str:
    """Why a licence of another kind is no trouble; empty where nobody has said so of this distribution and this licence."""
    of_it = [(called, why) for pattern, (called, why) in LOOKED_AT.items() if fnmatch(name, pattern)]
    return next((why for called, why in of_it if free(stated, called)), "")


def main() -> None:
    """Print the table; end with 1 and a line for each distribution that is neither free nor looked at."""
    extras = frozenset(distribution("tailwise").metadata.get_all("Provides-Extra") or ()) - OWN
    found, lacking = runtime("tailwise", extras)
    rows, odd = [], []
    for name, of in sorted(found.items()):
        stated = licence(of)
        why = "" if free(stated) else looked_at(name, stated)
        rows.append({"distribution": name, "version": of.version, "licence": stated or "none stated", "note": why})
        odd += [] if free(stated) or why else [f"{name} {of.version}: {stated or 'states no licence'}"]
    print(markdown(rows))
    absent = ", ".join(sorted(lacking)) or "none"
    print(f"\n{len(rows)} distributions, with the extras {', '.join(sorted(extras))}; not installed: {absent}")
    if odd:
        advice = "licences that nobody has looked at; read them, then say in soak/licences.py why they are no trouble"
        sys.exit("\n".join([advice, *odd]))


if __name__ == "__main__":
    main()
