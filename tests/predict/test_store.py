"""Logits on the disk: what a kill leaves is cut to whole batches, and another job is refused."""

from pathlib import Path

import pytest
import torch

from tailwise.predict.store import HEAD, LOGITS, PROBLEMS, Store
from tailwise.types import TailwiseError


def test_rows_survive_and_are_read_back(tmp_path: Path) -> None:
    rows = torch.randn(5, 3)
    rows[[1, 4]] = torch.nan
    store = Store(tmp_path, "job", 3, 2)
    assert store.done == 0
    store.append(rows[:2], {1: "torn"})
    store.append(rows[2:4], {})
    again = Store(tmp_path, "job", 3, 2)
    assert again.done == 4
    again.append(rows[4:], {4: "missing"})
    torch.testing.assert_close(again.logits(), rows, rtol=0, atol=0, equal_nan=True)
    assert again.problems() == {1: "torn", 4: "missing"}
    again.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("left", "done"), [(0, 0), (11, 0), (12, 0), (23, 0), (24, 2), (47, 2), (48, 4)])
def test_half_a_row_and_half_a_batch_are_made_again(tmp_path: Path, left: int, done: int) -> None:
    Store(tmp_path, "job", 3, 2).append(torch.ones(4, 3), {})
    path = tmp_path / LOGITS
    path.write_bytes(path.read_bytes()[:left])
    with (tmp_path / PROBLEMS).open("a") as file:
        file.write('[3, "half a li')
    store = Store(tmp_path, "job", 3, 2)
    assert store.done == done
    store.append(torch.zeros(4 - done, 3), {3: "torn"})
    assert store.logits().tolist() == [[1.0] * 3] * done + [[0.0] * 3] * (4 - done)


def test_an_image_that_could_be_read_the_second_time_has_no_problem(tmp_path: Path) -> None:
    bad = torch.full((1, 3), torch.nan)
    Store(tmp_path, "job", 3, 2).append(bad, {0: "a disk was away"})  # half a batch: a kill
    store = Store(tmp_path, "job", 3, 2)
    assert store.done == 0
    store.append(torch.cat([torch.ones(1, 3), bad]), {1: "torn"})
    assert store.problems() == {1: "torn"}


def test_another_job_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    Store(tmp_path, "job", 3, 2).append(torch.ones(2, 3), {})
    with pytest.raises(TailwiseError, match="was begun for other images, another model or batch size"):
        Store(tmp_path, "other", 3, 2)
    assert Store(tmp_path, "job", 3, 2).done == 2
    (tmp_path / HEAD).write_text("{")
    with pytest.raises(TailwiseError, match="cannot be read"):
        Store(tmp_path, "job", 3, 2)


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    store = Store(tmp_path, "job", 3, 2)
    (tmp_path / LOGITS).unlink()
    (tmp_path / LOGITS).mkdir()
    with pytest.raises(TailwiseError, match=r"could not be written .* goes on from here"):
        store.append(torch.ones(2, 3), {})
