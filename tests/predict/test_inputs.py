"""Which images are meant: folders, files and listings; each once; what is refused."""

from pathlib import Path

import pytest

from tailwise.predict.inputs import inputs, printable
from tailwise.types import TailwiseError


def made(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_a_folder_gives_its_images_in_order_and_their_folders_as_groups(tmp_path: Path) -> None:
    root = made(tmp_path / "in", "b/2.jpg", "a/1.PNG", "a/x.txt", "top.jpg", ".hid/3.jpg", "a/.4.jpg")
    found = inputs([root])
    assert [one.path.relative_to(root).as_posix() for one in found] == ["a/1.PNG", "b/2.jpg", "top.jpg"]
    assert [one.group for one in found] == [str(root / "a"), str(root / "b"), str(root)]
    assert found[0].name == str(root / "a" / "1.PNG")


def test_an_image_that_is_named_twice_comes_once(tmp_path: Path) -> None:
    root = made(tmp_path, "a/1.jpg", "a/2.jpg")
    listing = tmp_path / "list.csv"
    listing.write_text("path\na/2.jpg\na/3.jpg\na/2.jpg\n")
    found = inputs([root / "a" / "2.jpg", root / "a", listing])
    assert [one.path.name for one in found] == ["2.jpg", "1.jpg", "3.jpg"]


def test_a_listing_names_images_and_groups(tmp_path: Path) -> None:
    listing = tmp_path / "list.csv"
    listing.write_text('\ufeffpath, site ,label\n"x, y.jpg",north,cat\nmissing.jpg,"south\npole",dog\n')
    found = inputs([listing], "site")
    assert [(one.path, one.name, one.group) for one in found] == [
        (tmp_path / "x, y.jpg", "x, y.jpg", "north"),
        (tmp_path / "missing.jpg", "missing.jpg", "south\npole"),
    ]
    assert {one.group for one in inputs([listing], "folder")} == {str(tmp_path)}


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("file\na.jpg\n", None, "no column path; its columns are file"),
        ("", None, "no column path; its columns are none"),
        ("path\na.jpg\n", "site", "no column site; its columns are path"),
        ("path,site\na.jpg,\n", "site", "line 2: site is empty"),
        ("path,site\na.jpg\n", "site", "line 2: site is empty"),
        ("path\n\n", None, "no image found"),
    ],
)
def test_a_listing_that_cannot_be_used_is_one_line(tmp_path: Path, text: str, column: str | None, said: str) -> None:
    listing = tmp_path / "list.csv"
    listing.write_text(text)
    with pytest.raises(TailwiseError, match=said) as refusal:
        inputs([listing], column)
    assert len(str(refusal.value).splitlines()) == 1


def test_what_is_no_text_or_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"path\n\xff\xfe.jpg\n")
    with pytest.raises(TailwiseError, match="cannot be read as CSV in UTF-8"):
        inputs([tmp_path / "list.csv"])
    with pytest.raises(TailwiseError, match="no such file or folder"):
        inputs([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(TailwiseError, match="no image found"):
        inputs([tmp_path / "empty"])


def test_names_that_are_no_text_can_be_written() -> None:
    assert printable("a\udcffb") == r"a\udcffb"
    assert printable("grün\n") == "grün\n"
