"""The numbers that a run gets where nobody has said anything."""

import pytest
import torch

from tailwise.data import Stacked
from tailwise.train import rules


@pytest.mark.parametrize(
    ("samples", "size", "gib", "expected"),
    [(100, 32, 16, 32), (800, 32, 16, 50), (10**6, 32, 16, 128), (10**6, 224, 16, 32), (10**6, 224, 1, 2), (10**6, 112, 1, 8)],
)
def test_the_batch_goes_with_the_data_and_the_memory(samples: int, size: int, gib: int, expected: int) -> None:
    assert rules.batch_size(samples, size, available=gib * 2**30) == expected


def test_few_images_make_several_steps_of_an_epoch_from_scratch() -> None:
    sizes = [rules.batch_size(n, 32, available=2**34, least=rules.LEAST[rules.SCRATCH]) for n in (40, 200, 600, 10**6)]
    assert sizes == [8, 12, 37, 128]
    assert rules.batch_size(40, 224, available=2**30, least=8) == 2
    assert {way: rules.LEAST[way] for way in (rules.TUNED, rules.ADAPTED)} == {rules.TUNED: 32, rules.ADAPTED: 32}


def test_the_machine_says_how_much_memory_it_has() -> None:
    assert rules.memory() >= 2**28


@pytest.mark.parametrize(("side", "size"), [(8, 8), (33, 40), (64, 64), (65, 96), (130, 160), (224, 224), (300, 224)])
def test_the_image_size_is_that_of_the_images(side: int, size: int) -> None:
    pictures = Stacked(torch.zeros(4, 3, side, side + 3, dtype=torch.uint8))
    assert rules.image_size(pictures) == size


def test_few_images_get_more_epochs_within_bounds() -> None:
    assert rules.epochs(10**6, 128, rules.SCRATCH) == rules.EPOCHS[rules.SCRATCH][0]
    assert rules.epochs(20, 16, rules.SCRATCH) == rules.EPOCHS[rules.SCRATCH][1]
    few, more = (rules.epochs(n, 16, rules.ADAPTED) for n in (300, 600))
    assert (few, more) == (22, 11)  # about 400 steps


def test_the_rate_of_sgd_goes_with_the_batch() -> None:
    assert rules.rate("sgd", 128, rules.SCRATCH) == pytest.approx(2 * rules.rate("sgd", 64, rules.SCRATCH))
    assert rules.rate("sgd", 16, rules.ADAPTED) == rules.rate("sgd", 128, rules.ADAPTED) == 0.01
    assert rules.rate("adamw", 16, rules.SCRATCH) == 1e-3


def test_the_first_of_each_class() -> None:
    assert rules.first_of_each(torch.tensor([2, 0, 0, 2, 0, 3]), 2).tolist() == [0, 1, 2, 3, 5]
