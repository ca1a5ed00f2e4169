"""What is read at which start: a set that was looked at before is hashed, not decoded."""

from pathlib import Path

import numpy as np
import pytest
from masks import mask, photo

from tailwise.data import pixel_looks
from tailwise.data.pixel_looks import Pair, Seen, look_at_pairs
from tailwise.types import TailwiseError

GOOD = [Pair(f"{i}.png", photo(i), mask(0, i)) for i in range(1, 5)]
BAD = [Pair("bäd.png", photo(9), b"?"), Pair("a\udce4.png", photo(8)[:-40], mask(0)), Pair("alone.png", photo(7), None)]


def rows(seen: list[Seen]) -> list[tuple[str, list[int], list[int]]]:
    return [(one.problem, one.values.tolist(), one.times.tolist()) for one in seen]


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be decoded any more."""

    def fail(_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(pixel_looks, "_seen", fail)


def test_values_of_masks() -> None:
    files, seen = look_at_pairs([*GOOD, *BAD])
    assert rows(seen[:4]) == [("", [0, i], [15, 15]) for i in range(1, 5)]
    problems = [one.problem for one in seen[4:]]
    assert problems[0] == "mask: not an image"
    assert problems[1].startswith(("truncated", "unreadable"))
    assert problems[2] == "an image without mask"
    assert len({one.image for one in files[:6]} | {one.mask for one in files[:4]}) == 10


@pytest.mark.parametrize("pairs", [GOOD, GOOD + BAD, BAD])
def test_a_second_start_decodes_nothing(pairs: list[Pair], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    first = look_at_pairs(pairs, tmp_path / "deep" / "pixels")
    (file,) = (tmp_path / "deep" / "pixels").iterdir()
    assert file.suffix == ".npz"
    request.getfixturevalue("blind")
    second = look_at_pairs(pairs, tmp_path / "deep" / "pixels")
    assert second[0] == first[0]
    assert rows(second[1]) == rows(first[1])


@pytest.mark.parametrize(
    "other",
    [
        [*GOOD[:3], Pair("4.png", photo(4), mask(0, 9))],
        [*GOOD[:3], Pair("4.png", photo(5), mask(0, 4))],
        GOOD[::-1],
        GOOD[:3],
    ],
)
def test_other_bytes_are_looked_at(other: list[Pair], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    look_at_pairs(GOOD, tmp_path)
    request.getfixturevalue("blind")
    with pytest.raises(AssertionError, match="decoded"):
        look_at_pairs(other, tmp_path)


def test_damaged_and_foreign_caches_are_made_again(tmp_path: Path) -> None:
    expected = rows(look_at_pairs(GOOD, tmp_path)[1])
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    look_at_pairs(GOOD[:2], tmp_path)
    (shorter,) = (other.read_bytes() for other in tmp_path.iterdir() if other != file)
    for content in (b"", b"no archive", whole[: len(whole) // 2], shorter):
        file.write_bytes(content)
        assert rows(look_at_pairs(GOOD, tmp_path)[1]) == expected
        assert file.read_bytes() == whole
    for length, kind in ((9, np.int64), (8, np.float64)):
        parts = {"values": np.zeros(length, kind), "times": np.zeros(length, kind)}
        np.savez(file, problems=np.zeros(4, "S1"), ends=np.arange(2, 10, 2), **parts)
        assert rows(look_at_pairs(GOOD, tmp_path)[1]) == expected


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert rows(look_at_pairs(GOOD, tmp_path / "file" / "pixels")[1]) == rows(look_at_pairs(GOOD)[1])


def test_a_file_that_vanishes_while_it_is_read_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(mask(0, 1))
    hashed = pixel_looks._hashed

    def hash_and_remove(pair: Pair) -> pixel_looks.Files:
        found = hashed(pair)
        path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(pixel_looks, "_hashed", hash_and_remove)
    with pytest.raises(TailwiseError, match=r"a: could be read, now it cannot \(missing\); start again"):
        look_at_pairs([Pair("a", photo(0), path)], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
