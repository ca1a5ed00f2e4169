"""Views for pixels: pictures and labels stay aligned whatever is drawn, and what is drawn follows from the key."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import kstest
from torch import Tensor

from tailwise import rng
from tailwise.data import Stacked
from tailwise.data.augment import Blur, Chain, Gray, Jitter, Whole, colour
from tailwise.data.augment.pixels import Geometry, PixelViews, read_pair, read_whole
from tailwise.data.views import HALF
from tailwise.types import IGNORE, TailwiseError

MEAN = torch.tensor([124, 116, 104], dtype=torch.uint8)
COLOURS = rng.integers(256, 5, torch.arange(21)).view(7, 3).to(torch.uint8)
"""Of classes 0..5, and of what is ignored."""


@dataclass
class Pixels:
    """Pictures and masks in memory."""

    images: Stacked
    masks: Tensor  # (N, H, W)


def _blocks(n: int, height: int, width: int, block: int = 9) -> Pixels:
    """Squares of one class each, its colour in the picture."""
    down, across = -(-height // block), -(-width // block)
    coarse = rng.integers(7, 6, torch.arange(n * down * across)).view(n, down, across)
    classes = coarse.repeat_interleave(block, 1).repeat_interleave(block, 2)[:, :height, :width]
    return Pixels(Stacked(COLOURS[classes].permute(0, 3, 1, 2).contiguous()), classes.where(classes < 6, IGNORE))


def _places(height: int, width: int) -> Pixels:
    """One picture of noise whose labels say where they are: 1000 · row + column."""
    noise = rng.integers(256, 7, torch.arange(3 * height * width)).view(1, 3, height, width).to(torch.uint8)
    return Pixels(Stacked(noise), 1000 * torch.arange(height)[:, None] + torch.arange(width)[None, None])


def _drawn(geometry: Geometry, split: Pixels, n: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    u = rng.uniform(seed, torch.arange(geometry.draws)[:, None], torch.arange(n))
    return geometry(split, torch.arange(n) % len(split.masks), u)


@pytest.mark.parametrize(
    ("geometry", "reach"),
    [
        (Geometry((40, 56)), 2),
        (Geometry(48, short_side=60), 2),
        (Geometry((64, 30), short_side=33, max_share=1), 1),
        (Geometry(60, short_side=135, scales=(0.9, 2)), 3),
        (Geometry(130, scales=(0.5, 1.3)), 2),
    ],
)
def test_pictures_and_labels_stay_aligned(geometry: Geometry, reach: int) -> None:
    """``reach`` is how far from a border colours mix: a stored pixel, or one of the result where that is larger."""
    pixels, labels = _drawn(geometry, _blocks(5, 90, 123), 40)
    assert pixels.shape == (40, 3, *geometry.window)
    assert labels.shape == (40, *geometry.window)
    table = torch.cat([COLOURS, MEAN[None]])
    code = labels.where(labels != IGNORE, 6)
    padded = (pixels == MEAN[:, None, None]).all(1) & (labels == IGNORE)
    code[padded] = 7
    around = F.pad(code.float()[:, None], (reach,) * 4, value=-1)  # what is at the border may mix with a class cut off there
    flat = F.max_pool2d(around, 2 * reach + 1, 1) == -F.max_pool2d(-around, 2 * reach + 1, 1)
    right = (table[code].permute(0, 3, 1, 2) == pixels).all(1)
    assert bool(right[flat[:, 0]].all())
    assert float(flat.double().mean()) > 0.1
    assert len(code.unique()) >= 7
    closest = torch.stack([(pixels.int() - of[:, None, None].int()).abs().sum(1) for of in table]).argmin(0)
    assert float((closest == code).double().mean()) > 0.8  # also where colours mix


def test_labels_are_the_nearest_of_a_box_anywhere_at_a_scale_drawn_uniformly_and_mirrored_half_the_time() -> None:
    size, n, side = 64, 500, 320
    _, labels = _drawn(Geometry(size, short_side=160, scales=(0.8, 3.0), max_share=1), _places(side, side), n)
    rows, columns = labels[:, :, 0] // 1000, labels[:, 0] % 1000
    assert torch.equal(labels, 1000 * rows[:, :, None] + columns[:, None])
    mirrored = columns[:, 0] > columns[:, -1]
    assert 210 < int(mirrored.sum()) < 290
    lines = torch.stack([rows, columns.where(~mirrored[:, None], columns.flip(1))])
    box = (lines[..., -1] - lines[..., 0]) * size / (size - 1)  # to within a pixel
    start = (lines[..., 0] - box / (2 * size)) / (side - box)
    even = lines[..., :1] + box[..., None] / size * torch.arange(size)
    assert float((lines - even).abs().max()) <= 1.1
    for axis in (0, 1):
        assert kstest(2 * size / box[axis], "uniform", (0.8, 2.2)).pvalue > 1e-3
        assert kstest(start[axis], "uniform").pvalue > 1e-3
    assert abs(float(torch.corrcoef(torch.cat([start, box[:1], mirrored[None]])).fill_diagonal_(0).abs().max())) < 0.15


@pytest.mark.parametrize(("scale", "box"), [(1.0, 10), (1.05, 9), (0.91, 11)])
def test_a_box_is_the_nearest_and_reaches_every_border(scale: float, box: int) -> None:
    _, labels = _drawn(Geometry(10, None, (scale, scale), 1), _places(13, 13), 100)
    assert (labels // 1000).amin((1, 2)).unique().tolist() == list(range(13 - box + 1))
    assert (labels % 1000).amax((1, 2)).unique().tolist() == list(range(box - 1, 13))


@pytest.mark.parametrize("sides", [(20, 27), (27, 20), (1, 1)])
def test_a_whole_picture_comes_out_as_it_is(sides: tuple[int, int]) -> None:
    split = _places(*sides)
    for geometry in (Geometry(sides, scales=(1, 1)), Geometry(sides, min(sides), (1, 1)), Geometry((50, 40), None, (1, 1))):
        pixels, labels = _drawn(geometry, split, 20)
        for picture, truth in zip(pixels, labels, strict=True):
            seen = torch.cat([picture.long(), truth[None]])
            expected = torch.cat([split.images.pixels[0].long(), split.masks])
            part = seen[:, : sides[0], : sides[1]]
            assert torch.equal(part, expected) or torch.equal(part, expected.flip(2))
            assert bool((truth[sides[0] :] == IGNORE).all() & (truth[:, sides[1] :] == IGNORE).all())
            assert torch.equal(picture[:, sides[0] :], MEAN[:, None, None].expand_as(picture[:, sides[0] :]))
            assert torch.equal(picture[:, :, sides[1] :], MEAN[:, None, None].expand_as(picture[:, :, sides[1] :]))


def test_a_crop_is_part_of_the_resized_picture() -> None:
    """Where the box begins and ends at pixels of both, its inside is that of the whole picture resized."""
    split = _places(90, 120)
    pixels, labels = _drawn(Geometry(24, short_side=45, scales=(1, 1), max_share=1), split, 30)
    whole, compared = read_whole(split.images, 0, 45).int(), 0
    for picture, truth in zip(pixels.int(), labels, strict=True):
        top, first, last = int(truth[0, 0]) // 1000 - 1, int(truth[0, 0]) % 1000, int(truth[0, -1]) % 1000
        left = min(first, last) - 1
        if top % 2 == 0 and left % 2 == 0:
            picture = picture if first < last else picture.flip(2)
            expected = whole[:, top // 2 : top // 2 + 24, left // 2 : left // 2 + 24]
            assert int((picture - expected)[:, 1:-1, 1:-1].abs().max()) <= 1
            compared += 1
    assert compared > 2


def test_crops_of_nearly_one_class_are_drawn_again() -> None:
    split = _places(60, 200)
    split.masks = (torch.arange(200) >= 100).long().expand(1, 60, 200).contiguous()
    first, mixed = (_drawn(Geometry(50, scales=(1, 1), max_share=share), split, 300) for share in (1, 0.75))
    share = [torch.stack([(labels == c).double().mean((1, 2)) for c in (0, 1)]).amax(0) for _, labels in (first, mixed)]
    fits = share[0] <= 0.75
    assert 30 < int(fits.sum()) < 75  # 26 of 151 places
    assert 20 < int((share[1] > 0.75).sum()) < 75  # 300 · (1 − 26/151)¹⁰ = 46 that are unlucky ten times
    for one, other in zip(first, mixed, strict=True):
        assert torch.equal(one[fits], other[fits])


def test_what_is_ignored_has_no_share() -> None:
    split = _blocks(1, 60, 200)
    split.masks = torch.full((1, 60, 200), IGNORE)
    assert bool((_drawn(Geometry(50), split, 20)[1] == IGNORE).all())
    split.masks[0, 20:30, 90:95], split.masks[0, 20:30, 95:100] = 0, 5  # half of the labels each
    empty = [(_drawn(Geometry(50, None, (1, 1), share), split, 200)[1] == IGNORE).flatten(1).all(1).sum() for share in (1, 0.5)]
    assert empty[0] > 90
    assert empty[1] < 10


def _views(*steps: Any) -> PixelViews:
    return PixelViews(Geometry((40, 40), short_side=50), steps, HALF)


STRONG = (Jitter(0.4, 0.1), Gray(0.2), Blur(0.5))


def test_views_share_their_geometry_and_differ_in_colour() -> None:
    split, index, key = _blocks(5, 90, 123), torch.arange(12) % 5, rng.mix(3, torch.arange(12))
    views, labels = _views((), (Gray(1),), STRONG, STRONG, ())(split, index, key)
    assert views.shape == (5, 12, 3, 40, 40)
    assert views.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert torch.equal(views[0], views[4])
    pixels = (views[0] * 127.5 + 127.5).round().to(torch.uint8)
    assert torch.equal(HALF(pixels), views[0])
    assert torch.equal(HALF(colour.gray(pixels)), views[1])
    for view in (2, 3):  # view v draws from (key, v), as views of images do
        expected = Chain(Whole(40), STRONG)(Stacked(pixels), torch.arange(12), rng.mix(key, view))
        assert torch.equal(views[view], HALF(expected))
    assert not bool((views[2] == views[3]).flatten(1).all(1).any())
    alone, same = _views((Gray(1),))(split, index, key)
    assert torch.equal(same, labels)
    assert torch.equal(alone[0], views[1])


def test_a_sample_follows_from_its_key() -> None:
    split, index, key = _blocks(5, 90, 123), torch.tensor([3, 0, 3, 4]), rng.mix(4, torch.arange(4))
    views, labels = _views((), STRONG)(split, index, key)
    for i in range(4):
        one, own = _views((), STRONG)(split, index[i : i + 1], key[i : i + 1])
        assert torch.equal(one, views[:, i : i + 1])
        assert torch.equal(own, labels[i : i + 1])
    assert not torch.equal(labels[0], labels[2])  # one picture, two keys


def test_no_samples() -> None:
    none = torch.empty(0, dtype=torch.int64)
    views, labels = _views((), STRONG)(_blocks(1, 20, 20), none, none)
    assert views.shape == (2, 0, 3, 40, 40)
    assert labels.shape == (0, 40, 40)


def test_whole_images_for_judging() -> None:
    split = _places(90, 120)
    for short_side, size in ((None, (90, 120)), (45, (45, 60)), (100, (100, 133)), (1, (1, 1))):
        pixels, labels = read_pair(split, 0, short_side)
        assert pixels.shape == (3, *size)
        assert pixels.is_contiguous()
        assert torch.equal(labels, split.masks[0])
        assert torch.equal(pixels, read_whole(split.images, 0, short_side))
    assert torch.equal(read_pair(split, 0)[0], split.images.pixels[0])
    halves = F.interpolate(split.images.pixels.float(), (45, 60), mode="bilinear", antialias=True)[0]
    assert float((read_whole(split.images, 0, 45) - halves).abs().max()) <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "crop size: must be a whole number of at least 1, or two of them, got 0"),
        ({"size": (8, -1)}, "crop size"),
        ({"size": (8, 8, 8)}, "crop size"),
        ({"size": 8.5}, "crop size"),
        ({"size": True}, "crop size"),
        ({"size": "18"}, "crop size"),
        ({"short_side": 0}, "short_side: must be a whole number of at least 1, got 0"),
        ({"short_side": 1.5}, "short_side"),
        ({"scales": (2.0, 0.5)}, r"scales: must be two numbers, 0 < low <= high, got \(2.0, 0.5\)"),
        ({"scales": (0.0, 1.0)}, "scales"),
        ({"scales": (1.0,)}, "scales"),
        ({"scales": (1.0, float("inf"))}, "scales"),
        ({"scales": (float("nan"), 1.0)}, "scales"),
        ({"max_share": 0}, "max_share: must be above 0 and at most 1, got 0"),
        ({"max_share": 1.1}, "max_share"),
        ({"max_share": float("nan")}, "max_share"),
    ],
)
def test_a_wrong_geometry_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TailwiseError, match=message) as refused:
        Geometry(**{"size": 8, **options})
    assert "\n" not in str(refused.value)


def test_wrong_reading_is_refused_in_one_line() -> None:
    split = _blocks(2, 20, 30)
    for read in (lambda: read_pair(split, 0, 0), lambda: read_whole(split.images, 0, -3)):
        with pytest.raises(TailwiseError, match="short_side: must be a whole number of at least 1"):
            read()
    split.masks = split.masks[:, 1:]
    for call in (lambda: read_pair(split, 1), lambda: _drawn(Geometry(8), split, 2)):
        with pytest.raises(TailwiseError, match=r"image [01]: it has 30 × 20 pixels, its mask 30 × 19; a mask must"):
            call()
