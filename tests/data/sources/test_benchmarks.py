"""The published benchmarks: the same code on a tiny one whose images are made here, and how the real ones refuse."""

import dataclasses
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tailwise.data import Encoded, Issue, open_source
from tailwise.data.sources import BENCHMARKS
from tailwise.data.sources.benchmarks import Benchmark, Part, open_benchmark
from tailwise.data.views import IMAGENET, normalisation
from tailwise.types import TailwiseError

TINY = Benchmark(
    "tiny_lt",
    3,
    {
        "train": Part({"tiny_train.json": None, "tiny_train.txt": None}, 115, 80, 5),
        "val": Part({"tiny_val.txt": None}, 6, 2, 2),
        "test": Part({"tiny_test.json": None, "tiny_test.txt": None}, 12, 4, 4),
    },
    "the lists from lists.example",
    "the images from images.example",
)
COUNTS = {"train": (80, 30, 5), "val": (2, 2, 2), "test": (4, 4, 4)}
KINDS = ("ant", "bee", "cod")
ROWS = {
    split: [(f"{split}/{KINDS[c]}/{i}.jpg", c) for c, n in enumerate(counts) for i in range(n)]
    for split, counts in COUNTS.items()
}


def jpeg(seed: int) -> bytes:
    """A random image of 72 × 60 pixels, another one for each seed."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 72, 3), dtype=np.uint8)).save(out, "JPEG")
    return out.getvalue()


JPEGS = [jpeg(seed) for seed in range(133)]


def write_list(root: Path, split: str, rows: list[tuple[str, int]]) -> None:
    (root / f"tiny_{split}.txt").write_text("".join(f"{path} {label}\n" for path, label in rows))


def annotations(split: str) -> dict[str, Any]:
    """The split in iNaturalist's form: ids of no order and with gaps, annotations in another order than images."""
    ids = {path: 1000 - 3 * i for i, (path, _) in enumerate(ROWS[split])}
    return {
        "info": {"year": 2018},
        "images": [{"id": ids[path], "file_name": path, "width": 72} for path, _ in ROWS[split]],
        "categories": [{"id": 10 * c, "name": f"Genus {KINDS[c]}"} for c in (2, 0, 1)],
        "annotations": [{"id": -1, "image_id": ids[path], "category_id": 10 * c} for path, c in reversed(ROWS[split])],
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the lists and the images of the tiny benchmark."""
    root = tmp_path / "tiny_lt"
    contents = iter(JPEGS)
    for split, rows in ROWS.items():
        for path, _ in rows:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(next(contents))
        write_list(root, split, rows)
    return root


def refuse(root: Path, *parts: str, benchmark: Benchmark = TINY, **options: Any) -> None:
    """The benchmark is refused with one line that holds all the parts."""
    with pytest.raises(TailwiseError) as caught:
        open_benchmark(benchmark, root, **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def test_lists_and_images(root: Path) -> None:
    source = open_benchmark(TINY, root)
    assert source.name == "tiny_lt"
    assert source.names == ("0", "1", "2")
    assert source.issues == ()
    for split, rows in ROWS.items():
        part = source.splits[split]
        assert part.labels.tolist() == [label for _, label in rows]
        assert isinstance(part.images, Encoded)
        assert part.images.items == [root / path for path, _ in rows]
    assert np.array_equal(source.splits["train"].images[0], Image.open(io.BytesIO(JPEGS[0])))


def test_annotations_and_images(root: Path) -> None:
    """Of several lists the first counts, of names those of train; the same samples have the same hash."""
    before = open_benchmark(TINY, root)
    for split in ("train", "test"):
        text = json.dumps(annotations(split))
        (root / f"tiny_{split}.json").write_text(text if split == "train" else text.replace("Genus", "Obscured"))
        write_list(root, split, [("elsewhere.jpg", 0)])
    source = open_benchmark(TINY, root)
    assert source.names == ("Genus ant", "Genus bee", "Genus cod")
    assert source.sha256 == before.sha256
    for split, rows in ROWS.items():
        assert source.splits[split].labels.tolist() == [label for _, label in rows]


def test_hash_sees_paths_sizes_and_labels(root: Path) -> None:
    first = open_benchmark(TINY, root).sha256
    image = root / ROWS["train"][0][0]
    image.write_bytes(JPEGS[0] + b"\0")
    longer = open_benchmark(TINY, root).sha256
    image.rename(image.with_name("x.jpg"))
    write_list(root, "train", [("train/ant/x.jpg", 0), *ROWS["train"][1:]])
    renamed = open_benchmark(TINY, root).sha256
    write_list(root, "train", [*ROWS["train"][1:], ("train/ant/x.jpg", 0)])
    assert len({first, longer, renamed, open_benchmark(TINY, root).sha256}) == 4


def test_paths_that_begin_with_a_slash_lie_beneath_the_folder(root: Path) -> None:
    write_list(root, "val", [(f"/{path}", label) for path, label in ROWS["val"]])
    assert open_benchmark(TINY, root).issues == ()


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_truncated_list(root: Path, split: str) -> None:
    write_list(root, split, ROWS[split][:-1])
    total = len(ROWS[split])
    refuse(root, f"tiny_lt: tiny_{split}.txt has {total - 1} images, the benchmark {total}; download it again")


def test_labels_from_one(root: Path) -> None:
    write_list(root, "train", [(path, label + 1) for path, label in ROWS["train"]])
    refuse(root, "tiny_lt: tiny_train.txt has label '3' in line 111, the benchmark 0..2; download it again")


def test_labels_shifted_around(root: Path) -> None:
    """All counts are right, but the lists do not mean the same classes."""
    write_list(root, "test", [(path, (label + 1) % 3) for path, label in ROWS["test"]])
    refuse(root, "tiny_lt: folder 'ant' has label 0 in tiny_train.txt and 1 in tiny_test.txt; take all lists from one place")


def test_lists_without_class_folders(root: Path) -> None:
    """A folder of several classes says nothing about their order: two of train, one of them in val."""
    layout = {"ant": "ant/outdoor", "bee": "bee/outdoor"}
    for split, kinds in (("train", ("ant", "bee")), ("val", ("bee",))):
        rows = list(ROWS[split])
        for i, (path, label) in enumerate(rows):
            if KINDS[label] in kinds:
                moved = path.replace(KINDS[label], layout[KINDS[label]])
                (root / moved).parent.mkdir(exist_ok=True)
                (root / path).rename(root / moved)
                rows[i] = (moved, label)
        write_list(root, split, rows)
    assert open_benchmark(TINY, root).issues == ()


def test_another_distribution(root: Path) -> None:
    def relabelled(split: str, at: int, label: int) -> None:
        rows = list(ROWS[split])
        rows[at] = (rows[at][0], label)
        write_list(root, split, rows)

    relabelled("train", 0, 1)
    refuse(root, "tiny_train.txt has 79 images of class 0, its most of one class, the benchmark 80")
    relabelled("train", 100, 2)
    refuse(root, "tiny_train.txt has 6 images of class 2, its fewest of one class, the benchmark 5")
    write_list(root, "train", [(path, min(label, 1)) for path, label in ROWS["train"]])
    refuse(root, "tiny_train.txt has images of 2 classes, the benchmark of 3")
    write_list(root, "train", ROWS["train"])
    relabelled("test", 0, 1)
    refuse(root, "tiny_test.txt has 5 images of class 1, its most of one class, the benchmark 4")


@pytest.mark.parametrize(("text", "problem"), [("a.jpg\n", "line 1: no label after"), ("a.jpg x\n", "has label 'x' in line 1")])
def test_lists_that_cannot_be_read(root: Path, text: str, problem: str) -> None:
    (root / "tiny_val.txt").write_text(text)
    refuse(root, "tiny_val.txt", problem)


def test_a_known_digest_is_checked(root: Path) -> None:
    digest = hashlib.sha256((root / "tiny_val.txt").read_bytes()).hexdigest()
    known = dataclasses.replace(TINY.parts["val"], files={"tiny_val.txt": digest})
    benchmark = dataclasses.replace(TINY, parts={**TINY.parts, "val": known})
    assert open_benchmark(benchmark, root).issues == ()
    write_list(root, "val", ROWS["val"][::-1])
    refuse(root, "tiny_val.txt has the SHA-256", f"the benchmark {digest[:12]}…; download it again", benchmark=benchmark)


def test_a_missing_image_is_skipped_and_listed(root: Path, tmp_path: Path) -> None:
    (root / "train/ant/7.jpg").unlink()
    source = open_benchmark(TINY, root, issues_path=tmp_path / "issues.csv")
    assert source.issues == (Issue("train/ant/7.jpg", "train", "missing"),)
    assert source.splits["train"].counts(3).tolist() == [79, 30, 5]
    assert "train/ant/7.jpg,train,missing" in (tmp_path / "issues.csv").read_text()
    refuse(root, "1 of 133 images are bad, none is allowed with strict", "train/ant/7.jpg (missing)", strict=True)


def test_no_images_at_all(root: Path, tmp_path: Path) -> None:
    for split in ROWS:
        (root / split).rename(tmp_path / split)
    refuse(root, "tiny_lt: 133 of 133 images are bad", f"beneath {root}: put the images from images.example there")
    for split in ROWS:
        (root / split).symlink_to(tmp_path / split)
    assert open_benchmark(TINY, root).issues == ()


def test_a_damaged_image_shows_when_it_is_read(root: Path) -> None:
    (root / "train/ant/0.jpg").write_bytes(JPEGS[0][:-500])
    source = open_benchmark(TINY, root)
    assert source.issues == ()
    with pytest.raises(TailwiseError, match=r"ant/0\.jpg: cannot be read"):
        source.splits["train"].images[0]


def test_annotations_that_are_refused(root: Path) -> None:
    file = root / "tiny_train.json"

    def refuse_with(problem: str, **changes: Any) -> None:
        file.write_text(json.dumps(annotations("train") | changes))
        refuse(root, "tiny_train.json", problem)

    good = annotations("train")
    first, *rest = good["annotations"]
    unknown = {"image_id": 7_000_000, "category_id": 0}
    refuse_with("an annotation for image 7000000, which is not in it; download it again", annotations=[*rest, unknown])
    refuse_with("an annotation for category 5, which is not in it", annotations=[*rest, first | {"category_id": 5}])
    refuse_with("image 658 ('train/cod/4.jpg') has two annotations", annotations=[first, *rest, first])
    refuse_with("image 658 ('train/cod/4.jpg') has no annotation", annotations=rest)
    refuse_with("not annotations in COCO style (KeyError: 'name')", categories=[{"id": 0}])
    refuse_with("not annotations in COCO style (TypeError", images=3)
    refuse_with("has 4 categories, the benchmark 3", categories=[*good["categories"], {"id": 99, "name": "dog"}])
    refuse_with("has 114 images, the benchmark 115", images=good["images"][:-1], annotations=rest)
    for text in (json.dumps(good)[:-9], "", '"\xff"'):
        file.write_bytes(text.encode("latin-1"))
        refuse(root, f"{file}: cannot be read as JSON", "download it again")
    file.write_text("[]")
    refuse(root, "not annotations in COCO style")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "imagenet_lt",
            ("no ImageNet_LT_train.txt in", "zhmiao/OpenLongTailRecognition-OLTR", "ILSVRC2012 from image-net.org"),
        ),
        ("places_lt", ("no Places_LT_train.txt in", "zhmiao/OpenLongTailRecognition-OLTR", "places2.csail.mit.edu")),
        ("inaturalist18", ("no train2018.json in", "github.com/visipedia/inat_comp", "train_val2018")),
    ],
)
def test_an_empty_folder_says_what_to_download(tmp_path: Path, name: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(TailwiseError) as caught:
        open_source(name, download_root=tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message
    for part in (*parts, str(tmp_path / name)):
        assert part in message


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("imagenet_lt", "ImageNet_LT_train.txt"),
        ("places_lt", "Places_LT_train.txt"),
        ("inaturalist18", "iNaturalist18_train.txt"),
    ],
)
def test_a_list_that_is_not_the_published_one(tmp_path: Path, name: str, listed: str) -> None:
    """A list of one image too few, of the right classes."""
    benchmark = BENCHMARKS[name]
    (tmp_path / name).mkdir()
    for part in benchmark.parts.values():
        (tmp_path / name / list(part.files)[-1]).touch()
    (tmp_path / name / list(benchmark.parts["train"].files)[-1]).unlink()
    wanted = benchmark.parts["train"].images
    rows = "".join(f"train/{i % benchmark.classes}/{i}.jpg {i % benchmark.classes}\n" for i in range(wanted - 1))
    (tmp_path / name / listed).write_text(rows)
    with pytest.raises(TailwiseError) as caught:
        open_source(name, download_root=tmp_path)
    assert str(caught.value) == (f"{name}: {listed} has {wanted - 1:,} images, the benchmark {wanted:,}; download it again")


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_what_is_known_of_the_benchmarks_agrees_with_itself(name: str) -> None:
    benchmark = BENCHMARKS[name]
    assert normalisation(name) is IMAGENET
    assert benchmark.name == name
    for split, part in benchmark.parts.items():
        assert benchmark.classes * part.smallest <= part.images <= benchmark.classes * part.largest
        assert (part.smallest == part.largest) is (split != "train")
