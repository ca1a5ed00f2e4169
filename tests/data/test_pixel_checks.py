"""What is skipped and what is refused of images with masks, and what classes follow from values."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from masks import encode, mask, photo
from PIL import Image

from tailwise.data import Encoded, Issue, Source
from tailwise.data.pixel_checks import examine_pairs
from tailwise.data.pixel_looks import Pair
from tailwise.data.pixels import PixelSplit, class_table
from tailwise.types import IGNORE, TailwiseError

NAMES = ("sky", "road", "pole")
GOOD = [Pair(f"{i}.png", photo(i), mask(0, 1, 2 if i == 7 else 0, 255)) for i in range(140)]


def look(train: list[Pair], names: tuple[str, ...] = NAMES, *, val: Any = None, test: Any = None, **options: Any) -> Source:
    others = {split: pairs for split, pairs in (("val", val), ("test", test)) if pairs is not None}
    return examine_pairs("roads", {"train": train, **others}, names=names, **options)


def part(source: Source, split: str) -> PixelSplit:
    found = source.splits[split]
    assert isinstance(found, PixelSplit)
    return found


def refuse(problem: str, *args: Any, **options: Any) -> None:
    with pytest.raises(TailwiseError) as caught:
        look(*args, **options)
    assert problem in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


def test_good_pairs_pass_untouched() -> None:
    source = look(GOOD[:10], test=GOOD[10:14])
    assert source.issues == ()
    assert source.names == NAMES
    train, counts = part(source, "train"), np.zeros(3, int)
    assert isinstance(train.images, Encoded)
    assert train.images.items == [pair.image for pair in GOOD[:10]]
    for i in range(10):
        classes, times = train.masks[i].unique(return_counts=True)
        assert classes[0] == IGNORE
        assert train.pixels[i][classes[1:]].tolist() == times[1:].tolist()
        counts[classes[1:]] += times[1:].numpy()
    assert train.counts(3).tolist() == counts.tolist()
    assert train.labels.tolist() == [1] * 7 + [2] + [1] * 2
    assert part(source, "test").counts(3).tolist() == [60, 32, 0]


@pytest.mark.parametrize(
    ("image", "content", "problem"),
    [
        (None, mask(0, 1), "a mask without image"),
        (photo(900), None, "an image without mask"),
        (Path("/nowhere.png"), mask(0, 1), "missing"),
        (photo(900), Path("/nowhere.png"), "mask: missing"),
        (b"", mask(0, 1), "empty file"),
        (photo(900), b"", "mask: empty file"),
        (b"letters", mask(0, 1), "not an image"),
        (photo(900), b"letters", "mask: not an image"),
        (photo(900, (60, 50))[:-400], mask(0, 1, size=(60, 50)), "truncated"),
        (photo(900, (60, 50)), mask(*range(3), *range(255), size=(60, 50))[:-90], "mask: truncated"),
        (photo(900), mask(0, 1, size=(5, 6)), "the mask has 5 × 6 pixels, the image 6 × 5"),
        (photo(900), mask(0, 3), "mask value 3 is no class: these are 0..2, ignored is 255"),
        (photo(900), mask(0, 256, dtype=np.uint16), "mask value 256 is no class"),
        (photo(900), mask(255), "no labelled pixel"),
        (photo(900), photo(901), "a colour mask (RGB): save class numbers as an 8-bit image"),
        (photo(900), encode(Image.new("L", (6, 5)), "JPEG"), "a JPEG mask is lossy"),
        (photo(7), mask(0, 1, 2, 255), "duplicate: equals 7.png in train"),
        (photo(7), mask(0, 1), "duplicate with another label: equals 7.png in train"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_bad_pairs_are_skipped_and_listed(image: Any, content: Any, problem: str) -> None:
    source = look([*GOOD[:80], Pair("bad.png", image, content), *GOOD[80:110]])
    (issue,) = source.issues
    assert (issue.path, issue.split) == ("bad.png", "train")
    assert issue.problem.startswith(problem)
    assert "\n" not in issue.problem
    expected = look(GOOD[:110])
    assert source.sha256 == expected.sha256
    assert part(source, "train").pixels.equal(part(expected, "train").pixels)


def test_equal_masks_are_no_duplicates_and_test_keeps_its_copy() -> None:
    source = look([*GOOD[:120], GOOD[130]], val=[GOOD[125]], test=[*GOOD[120:124], GOOD[130]])
    assert source.issues == (Issue("130.png", "train", "duplicate: equals 130.png in test"),)
    assert {name: len(split.labels) for name, split in source.splits.items()} == {"train": 120, "val": 1, "test": 5}


def test_one_in_a_hundred_is_the_limit(tmp_path: Path) -> None:
    bad = [Pair(f"bad{i}.png", photo(900 + i), mask(255)) for i in range(3)]
    listed = tmp_path / "run" / "issues.csv"
    assert len(look([*GOOD, bad[0]]).issues) == 1
    refuse("roads: 1 of 141 images are bad, none is allowed with strict; first: bad0.png", [*GOOD, bad[0]], strict=True)
    refuse(
        f"3 of 103 images are bad, at most 1% may be; first: bad0.png (no labelled pixel); the list is in {listed}; mend it",
        [*GOOD[:100], *bad],
        issues_path=listed,
        advice="mend it",
    )
    with open(listed, newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1:] == [[f"bad{i}.png", "train", "no labelled pixel"] for i in range(3)]


def test_names_and_classes_that_cannot_be() -> None:
    refuse("roads: two classes are called 'sky'; give each a name of its own", GOOD[:5], ("sky", "road", "sky"))
    refuse(
        "fewer than two classes have pixels in train; is 255, which is ignored, a class?", [Pair("a", photo(0), mask(0, 255))]
    )
    refuse("roads: no training images in it", [])
    source = look([GOOD[0]], test=[GOOD[7]])  # a class of the test split that train lacks
    assert part(source, "train").counts(3).tolist()[2] == 0
    assert part(source, "test").labels.tolist() == [2]


def test_classes_from_values() -> None:
    assert look(GOOD[:8], ()).names == ("0", "1", "2")
    assert look(GOOD[:7], (), test=[GOOD[7]]).names == ("0", "1", "2")
    wide = [Pair("a", photo(0, (30, 20)), mask(*range(300), 65535, size=(30, 20), dtype=np.uint16)), GOOD[0]]
    assert len(look(wide, ()).names) == 300
    refuse("b: mask value 9, but no mask has 3; number", [*GOOD[:8], Pair("b", photo(300), mask(0, 9))], ())
    assert len(look(wide, tuple(map(str, range(300)))).names) == 300


def test_what_to_ignore() -> None:
    pairs = [Pair("a", photo(0), mask(0, 1, 2)), Pair("b", photo(1), mask(2, 2, 1))]
    source = look(pairs, (), ignore=(0,))
    assert source.names == ("0", "1")
    assert part(source, "train").counts(2).tolist() == [20, 30]
    assert part(source, "train").masks[0][0].tolist() == [IGNORE, 0, 1] * 2
    assert look(pairs, ("road", "pole"), ignore=(0,)).sha256 == source.sha256
    assert part(look(pairs, ("sky", "road"), ignore=(2,)), "train").counts(2).tolist() == [10, 20]
    refuse("ignore: a mask cannot have the value 70000", pairs, ignore=(70000,))


def test_a_table_of_classes() -> None:
    table = class_table(2, (255,))
    table[[7, 8]] = 1, IGNORE
    source = look([Pair("a", photo(0), mask(0, 1, 7, 8))], ("sky", "road"), table=table)
    assert part(source, "train").pixels.tolist() == [[8, 15]]


def test_hash_sees_images_masks_and_the_table() -> None:
    pairs = [Pair("a", photo(0), mask(0, 1)), Pair("b", photo(1), mask(0, 1))]
    first = look(pairs).sha256
    assert look([Pair("x", pair.image, pair.mask) for pair in pairs]).sha256 == first
    assert look([pairs[0], Pair("b", photo(2), mask(0, 1))]).sha256 != first
    assert look([pairs[0], Pair("b", photo(1), mask(1, 0))]).sha256 != first  # as many pixels of each
    assert look(pairs, ignore=(7,)).sha256 != first
    assert look(pairs, test=[GOOD[3]]).sha256 != first


def test_a_split_without_labels_is_left_out(tmp_path: Path) -> None:
    hidden = [Pair(f"h{i}", photo(400 + i), mask(255, 255)) for i in range(3)]
    listed = tmp_path / "issues.csv"
    source = look(GOOD[:8], val=GOOD[20:22], test=hidden, issues_path=listed, strict=True)
    assert set(source.splits) == {"train", "val"}
    assert source.issues == (Issue("", "test", "left out: no labelled pixel in any of its 3 masks"),)
    assert "left out" in listed.read_text(encoding="utf-8")
    serving = look(GOOD[:8], val=GOOD[20:22], test=hidden, val_is_test=True)
    assert set(serving.splits) == {"train", "test"}
    assert torch.equal(serving.splits["test"].labels, source.splits["val"].labels)
    both = look(GOOD[:8], val=GOOD[20:22], test=GOOD[30:33], val_is_test=True)
    assert len(both.splits["val"].labels) == 2
    refuse("3 of 3 images are bad", hidden)
