"""What a survey finds in folders with planted duplicates and damage; and that it changes nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from masks import encode, mask, photo, put
from PIL import Image
from survey.folders import folder, save, scene

from tailwise.data import checks, open_source
from tailwise.survey import Survey, survey
from tailwise.survey.look import look
from tailwise.types import TailwiseError


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train: deer 30, fox 6, lynx 3; test: 3 of each; with planted trouble."""
    root = tmp_path_factory.mktemp("damaged")
    folder(root / "train", {"deer": 30, "fox": 6, "lynx": 3})
    folder(root / "test", {"deer": 3, "fox": 3, "lynx": 3}, first=100)
    save(root / "train/deer/small.jpg", scene(0, (48, 36)), quality=60)  # like deer/0
    save(root / "test/fox/leak.jpg", scene(30, (300, 225)), quality=40)  # like fox/0 of train
    save(root / "train/lynx/wrong.jpg", scene(31), quality=50)  # like fox/1
    shutil.copy(root / "train/fox/2.png", root / "test/fox/copy.png")
    shutil.copy(root / "train/fox/3.png", root / "train/lynx/copy.png")
    shutil.copy(root / "train/deer/9.png", root / "train/deer/copy.png")
    save(root / "train/deer/night.png", scene(200).convert("L"))
    whole = (root / "train/fox/4.png").read_bytes()
    put(root / "train/fox/broken.png", whole[: len(whole) // 2])
    put(root / "train/fox/notes.jpg", b"no image")
    put(root / "train/fox/empty.jpg", b"")
    return root


@pytest.fixture(scope="module")
def found(damaged: Path) -> Survey:
    before = {path: path.read_bytes() for path in damaged.rglob("*") if path.is_file()}
    made = survey(damaged)
    assert {path: path.read_bytes() for path in damaged.rglob("*") if path.is_file()} == before
    return made


def test_classes_are_counted_by_split(found: Survey) -> None:
    record = found.record
    assert record["task"] == "images"
    assert [(row["name"], row["train"], row["test"], row["group"]) for row in record["classes"]] == [
        ("deer", 32, 3, "medium"),
        ("fox", 5, 5, "few"),
        ("lynx", 4, 3, "few"),
    ]
    assert record["splits"]["train"] == {"images": 41, "imbalance_factor": 8.0, "absent": []}
    assert record["edges"] == {"many": "> 100", "medium": "20 to 100", "few": "< 20"}
    assert json.loads(json.dumps(record)) == record


def test_damage_is_listed_and_the_refusal_foretold(found: Survey, damaged: Path) -> None:
    skipped = found.record["skipped"]
    assert skipped["by_problem"]["empty file"] == skipped["by_problem"]["not an image"] == 1
    assert {Path(file["path"]).name for file in skipped["files"]} == {
        "broken.png",
        "notes.jpg",
        "empty.jpg",
        "2.png",
        "copy.png",  # two of them
    }
    assert found.record["refused"] == "6 of 58 images are bad, at most 1% may be"
    assert "fit refuses the data as they are" in found.record["advice"]["mend"][0]
    with pytest.raises(TailwiseError, match=r"6 of 58 images are bad"):
        open_source(damaged)  # as strict as before
    assert checks.TOLERATED == 0.01


def test_copies_are_told_from_look_alikes(found: Survey, damaged: Path) -> None:
    copies, near = found.record["alike"]["copies"], found.record["alike"]["near"]
    assert (copies["number"], copies["across"], copies["conflicts"]) == (3, 1, 1)
    assert {Path(pair["left_out"]).parts[-3:] for pair in copies["pairs"]} == {
        ("train", "deer", "copy.png"),
        ("train", "fox", "2.png"),
        ("train", "lynx", "copy.png"),
    }
    assert (near["clusters"], near["images"], near["leaks"], near["conflicts"]) == (3, 6, {"test": 1}, 1)
    pairs = [tuple(Path(pair[key]["path"]).name for key in ("first", "second")) for pair in near["pairs"]]
    assert pairs == [("0.png", "leak.jpg"), ("1.png", "wrong.jpg"), ("0.png", "small.jpg")]
    leak = near["pairs"][0]
    assert leak["first"] == {"path": str(damaged / "train/fox/0.png"), "split": "train", "class": "fox"}
    assert leak["second"]["split"] == "test"
    assert not leak["equal_pixels"]
    shown = found.image(found.alike.pairs[0].second)
    assert shown.size == (300, 225)


def test_what_to_do_follows(found: Survey) -> None:
    advice = found.record["advice"]
    mend = "\n".join(advice["mend"])
    assert "Images of test that look the same as one of train: 1 (9.1%)" in mend
    assert "Exact copies under another label: 1." in mend
    assert "Pairs that look the same and have different labels: 1." in mend
    assert advice["split"][0].startswith("36 images to train on, 5 for val; 10% of the rest for val")
    assert advice["images"] == {"train": 36, "val": 5, "test": 11}
    assert "Classes with fewer than 10 test images, to be judged only as a group: 3 of 3" in advice["difficulty"][1]
    assert any("imbalance" in sentence or "8 times" in sentence for sentence in advice["method"])


def test_sizes_and_channels(found: Survey) -> None:
    images = found.record["images"]
    assert (images["smallest"], images["largest"], images["one_size"]) == ([48, 36], [300, 225], False)
    assert images["stored"] == {"RGB": 51, "L": 1}
    assert images["colourless"] == 1
    assert images["number"] == 52


def test_clean_data_have_nothing_to_mend(tmp_path: Path) -> None:
    record = survey(folder(tmp_path / "clean", {"a": 20, "b": 20})).record
    assert record["refused"] is None
    assert record["advice"]["mend"] == []
    assert record["alike"]["near"]["pairs"] == []
    assert record["skipped"] == {"by_problem": {}, "files": []}
    assert record["advice"]["images"] == {"train": 28, "val": 4, "test": 8}
    assert "20% of each class for test" in record["advice"]["split"][0]
    assert "about equally frequent" in record["advice"]["method"][0]


def test_equal_pixels_of_small_images_are_found_and_called_by_their_paths(tmp_path: Path) -> None:
    root = tmp_path / "small"
    for c, name in enumerate("ab"):
        for i in range(5):
            save(root / name / f"{i}.png", scene(10 * c + i, (32, 24)))
    save(root / "b" / "z.bmp", scene(0, (32, 24)))  # other bytes, equal pixels
    near = survey(root).record["alike"]["near"]
    (pair,) = near["pairs"]
    assert pair["equal_pixels"]
    assert near["conflicts"] == 1
    assert pair["first"] == {"path": str(root / "a/0.png"), "split": "train", "class": "a"}


def test_tiny_images_all_look_alike_so_only_equal_ones_count(tmp_path: Path) -> None:
    for c, name in enumerate("ab"):
        for i in range(4):
            save(tmp_path / name / f"{i}.png", Image.new("L", (8, 8), 100 + 4 * c + i))
    record = survey(tmp_path).record
    assert record["images"]["one_size"]
    assert record["images"]["colourless"] == 8
    assert record["alike"]["near"]["only_equal"]
    assert record["alike"]["near"]["pairs"] == []


def test_groups_across_splits_and_in_one_place(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 6, "b": 6})
    save(tmp_path / "a" / "same.jpg", scene(0), quality=50)
    rows = [f"a/{i}.png,a,train,site{i % 2}" for i in range(4)] + [f"b/{i}.png,b,train,site2" for i in range(4)]
    rows += ["a/4.png,a,test,site1", "b/4.png,b,test,site3", "a/same.jpg,a,train,site0"]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split,group", *rows]))
    record = survey(tmp_path / "list.csv").record
    assert record["groups"] == {
        "number": 4,
        "largest": {"name": "site2", "images": 4},
        "of_one_image": 1,
        "classes_in_one_group": [],
        "across_splits": ["site1"],
    }
    assert "Groups that lie in more than one split: 1 (site1)" in "\n".join(record["advice"]["mend"])
    assert record["alike"]["near"]["torn"] == 0  # of one group, so no split tears them apart


def test_a_split_that_cannot_be_made_is_foretold(tmp_path: Path) -> None:
    record = survey(folder(tmp_path / "one", {"a": 1, "b": 1})).record
    assert "fit stops here" in record["advice"]["mend"][0]
    assert "nothing can be held out for the test" in record["advice"]["mend"][0]
    assert "test" not in record["advice"]["images"]


@pytest.fixture
def pixel_pairs(tmp_path: Path) -> Path:
    for i in range(6):
        put(tmp_path / "images/train" / f"{i}.png", photo(i, (40, 30)))
        put(tmp_path / "masks/train" / f"{i}.png", mask(0, 0, 0, 1, *([2] if i == 0 else []), size=(40, 30)))
    put(tmp_path / "images/train/again.png", encode(Image.open(tmp_path / "images/train/0.png"), compress_level=0))
    put(tmp_path / "masks/train/again.png", mask(0, 0, 0, 1, size=(40, 30)))  # another rarest class than that of its twin
    put(tmp_path / "images/test/9.png", photo(9, (40, 30)))
    put(tmp_path / "masks/test/9.png", mask(0, 1, size=(40, 30)))
    put(tmp_path / "classes.txt", b"sky\nroad\nsign\nnever\n")
    return tmp_path


def test_masks_are_counted_by_pixel(pixel_pairs: Path) -> None:
    record = survey(pixel_pairs).record
    assert record["task"] == "pixels"
    rows = {row["name"]: row for row in record["classes"]}
    assert rows["sign"]["train"] == 240
    assert rows["sign"]["images_in_train"] == 1
    assert rows["sign"]["group"] == "tail"
    assert rows["road"]["test"] == 600
    assert record["splits"]["train"]["absent"] == ["never"]
    assert any("never predicted: never" in sentence for sentence in record["advice"]["difficulty"])
    near = record["alike"]["near"]
    assert near["conflicts"] == 0
    assert [(pair["equal_pixels"], set(pair["first"])) for pair in near["pairs"]] == [(True, {"path", "split"})]


def test_what_opening_did_not_decode_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "late", {"a": 4, "b": 4})
    whole = open_source(root)
    monkeypatch.setattr("tailwise.survey.record.open_source", lambda *args, **options: whole)
    put(root / "a/0.png", b"lost")
    (root / "b/1.png").unlink()
    record = survey(root).record
    assert [(Path(file["path"]).name, file["problem"]) for file in record["skipped"]["files"]] == [
        ("0.png", "not an image"),
        ("1.png", "missing"),
    ]
    assert record["images"]["number"] == 6
    assert [row["train"] for row in record["classes"]] == [3, 3]
    for file in root.rglob("*.png"):
        put(file, b"lost")
    with pytest.raises(TailwiseError, match="none of the training images can be read"):
        survey(root)


@pytest.mark.parametrize(
    ("mode", "stored"), [("RGBA", "RGBA"), ("P", "P"), ("1", "1"), ("I;16", "I;16"), ("LA", "LA"), ("L", "L")]
)
def test_every_kind_of_file_is_looked_at(mode: str, stored: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "kinds", {"a": 2, "b": 2})
    grey = np.asarray(scene(9).convert("L"))
    made = Image.fromarray(grey.astype(np.uint16) << 8) if mode == "I;16" else scene(9).convert(mode)
    save(root / "a" / "odd.png", made)
    seen = look(open_source(root).splits["train"])
    assert seen.stored.count(stored) == 1
    assert seen.problems == [""] * 5
    of_odd = seen.thumbnails[seen.stored.index(stored)].astype(int)
    assert np.abs(of_odd - np.asarray(scene(9).resize((16, 16), Image.Resampling.BOX).convert("L"))[..., None]).mean() < 60


def test_progress_counts_every_image(tmp_path: Path) -> None:
    told: list[int] = []
    survey(folder(tmp_path / "p", {"a": 5, "b": 7}), progress=told.append)
    assert sum(told) == 12


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    def refusal(spec: Any) -> str:
        with pytest.raises(TailwiseError) as caught:
            survey(spec)
        return str(caught.value)

    assert "no such data" in refusal(tmp_path / "nothing")
    assert "no class folders" in refusal(tmp_path)
    assert "fewer than two classes" in refusal(folder(tmp_path / "single", {"a": 3}))
