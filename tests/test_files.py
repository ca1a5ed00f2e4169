"""Files are whole or as they were, and the error says what helps."""

import os
from pathlib import Path

import pytest

from tailwise.files import write_whole
from tailwise.types import TailwiseError


def test_a_file_is_replaced_in_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for content in (b"one", b"two"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_the_caller_says_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(TailwiseError) as error:
        write_whole(path, b"one", "choose another --html")
    assert str(error.value) == f"{path}: could not be written (No space left on device); choose another --html"
    path.write_bytes(b"before")
    with pytest.raises(TailwiseError, match="on device\\), the last one is whole; free some space or choose another place"):
        write_whole(path, b"after")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"before"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(TailwiseError, match=r"could not be written .*; choose another --html$"):
        write_whole(tmp_path / "file" / "page.html", b"", "choose another --html")
