"""Test images that are in the training set too are found in what a model is shown."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tailwise.survey import leaks as module
from tailwise.survey.leaks import Seen, leaks
from tailwise.types import Output

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


class Blind(nn.Module):
    def forward(self, views: Tensor) -> Output:
        rows = torch.zeros(*views.shape[:2], 2)
        return Output(rows, rows, torch.eye(2))


def smooth(n: int, side: int, seed: int) -> Tensor:
    """Pictures (n, 3, side, side) uint8 of low frequencies and little colour."""
    coarse = (
        torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * torch.tensor([1.0, 0.9, 0.8])[:, None, None]
    )
    return (255 * nn.functional.interpolate(coarse, side, mode="bilinear")).round().to(torch.uint8)


def shown(pixels: Tensor, batch: int = 16) -> Seen:
    seen = Seen(Blind(), MEAN, STD)
    for part in pixels.split(batch):
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        assert seen(((part / 255 - mean) / std)[None]).logits.shape == (1, len(part), 2)
    return seen


def as_jpeg(pixels: Tensor) -> Tensor:
    out = []
    for one in pixels:
        packed = io.BytesIO()
        Image.fromarray(one.permute(1, 2, 0).numpy()).save(packed, "JPEG", quality=75)
        out.append(torch.from_numpy(np.array(Image.open(packed))).permute(2, 0, 1))
    return torch.stack(out)


@pytest.mark.parametrize("side", [8, 32])
def test_copies_are_counted_and_others_are_not(side: int) -> None:
    train, test = smooth(40, side, 0), smooth(20, side, 1)
    none = leaks(shown(train), shown(test))
    assert none == {"test": 20, "alike": 0, "equal": 0, "only_equal": side < 16}
    again = leaks(shown(torch.cat([train, test[:3]])), shown(test))
    assert again
    assert (again["alike"], again["equal"]) == (3, 3)


def test_copies_that_were_compressed_are_near_duplicates() -> None:
    train, test = smooth(40, 32, 0), smooth(20, 32, 1)
    found = leaks(shown(torch.cat([train, as_jpeg(test[:5])])), shown(test))
    assert found
    assert (found["alike"], found["equal"]) == (5, 0)


def test_a_copy_within_the_test_split_is_no_leak() -> None:
    train, test = smooth(10, 32, 0), smooth(10, 32, 1)
    found = leaks(shown(train), shown(torch.cat([test, test])))
    assert found
    assert (found["test"], found["alike"]) == (20, 0)


def test_too_many_images_are_not_compared_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 32)
    many = shown(smooth(40, 8, 0))
    assert leaks(many, shown(smooth(5, 8, 1))) is None
    assert sum(map(len, many.parts)) <= 32
