"""Names of others as a page and a card show them: as text that does nothing, and no longer than there is room."""

from collections.abc import Mapping
from typing import Any

from tailwise.errors import visible

LONGEST = 120
"""Characters of a name of a class; of a longer one the middle is left out."""


def plain(value: Any) -> Any:
    """Text without control characters and marks that turn what stands beside them; its lines, and markup of ours, stay."""
    return "\n".join(visible(line, len(line)) for line in value.split("\n")) if type(value) is str else value


def legible(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result block whose names of classes are a part of a line."""
    shown = dict(result)
    if "per_class" in shown:
        shown["per_class"] = [{**row, "name": visible(str(row["name"]), LONGEST)} for row in shown["per_class"]]
    if shown.get("worst"):
        shown["worst"] = {**shown["worst"], "name": visible(str(shown["worst"]["name"]), LONGEST)}
    for key in ("shipped", "post_hoc"):  # what other answers of the same model are worth
        if shown.get(key):
            shown[key] = legible(shown[key])
    return shown
