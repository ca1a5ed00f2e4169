"""A sample of the soak: files changed at random are read or refused."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


def test_changed_files_are_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from soak import files, readers

    monkeypatch.setattr(files, "SECONDS", 100)
    work = tmp_path / "work"
    work.mkdir()
    for i in range(6):
        (tmp_path / f"{i}.png").write_bytes(readers.picture("PNG", seed=i))
    found: list[tuple[str, str, str]] = []

    def trying(name: str, reader: readers.Reader) -> Callable[[list[Any], int, bool], None]:
        def use(made: list[Any], which: int, inside: bool) -> None:
            content, back = (reader.inner if inside else files.whole)(reader.seeds[which % len(reader.seeds)])
            end, text = files.one(reader, back(files.changed(content, made)), work, SimpleNamespace(seen=[], armed=False))
            if end not in ("read", "refused"):
                found.append((name, end, text))

        return use

    for name, reader in readers._of_data(tmp_path).items():
        files.drawn(trying(name, reader), 0, 12)
    assert found == []
