"""Whole images: windows cover them, averages are those of a slow loop, and nothing depends on how the work is cut up."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tailwise import inference
from tailwise.inference import Sliding, classes_at, strips, windows
from tailwise.types import Output, TailwiseError

CLASSES = 4


class Pointwise(nn.Module):
    """Logits of a pixel from its own three numbers."""

    dim, classes = 3, CLASSES

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, CLASSES)
        with torch.no_grad():
            self.head.weight.copy_(torch.linspace(-3, 2, 12).reshape(4, 3) * torch.tensor([1.0, -1.0, 0.5]))
            self.head.bias.copy_(torch.tensor([0.2, -0.1, 0.3, 0.0]))

    def forward(self, views: Tensor) -> Output:
        features = views.movedim(2, -1)
        return Output(self.head(features), features, self.head.weight)


class Near(Pointwise):
    """Logits of a pixel from what is around it, so that the edge of a window shows; counts what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[int, ...]] = []
        self.mix = nn.Conv2d(3, 3, 5, padding=2, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.linspace(-1, 1, 225).reshape(3, 3, 5, 5).sin())

    def forward(self, views: Tensor) -> Output:
        self.shown.append(tuple(views.shape))
        return super().forward(self.mix(views.flatten(0, 1)).unflatten(0, views.shape[:2]))


def image(height: int, width: int) -> Tensor:
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(height * 100 + width))


@given(st.data())
def test_windows_cover_everything_and_stay_inside(data: st.DataObject) -> None:
    sides = data.draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    window = tuple(data.draw(st.integers(1, side)) for side in sides)
    stride = tuple(data.draw(st.integers(1, part)) for part in window)
    places = windows(sides, (window[0], window[1]), (stride[0], stride[1]))
    seen = torch.zeros(sides, dtype=torch.int64)
    for y, x in places:
        assert 0 <= y <= sides[0] - window[0]
        assert 0 <= x <= sides[1] - window[1]
        seen[y : y + window[0], x : x + window[1]] += 1
    assert int(seen.min()) >= 1
    assert len(set(places)) == len(places)
    for axis in (0, 1):
        starts = sorted({place[axis] for place in places})
        assert all(b - a <= stride[axis] for a, b in itertools.pairwise(starts))
        assert all(b - a == stride[axis] for a, b in itertools.pairwise(starts[:-1]))


@pytest.mark.parametrize("window", [None, (20, 30), (50, 60), (20, 99)])
def test_one_window_over_everything_is_the_plain_forward(window: tuple[int, int] | None) -> None:
    model, picture = Near(), image(20, 30)
    scores = Sliding(window=window)(model, picture)
    assert torch.equal(scores, model(picture[None, None]).at_labels()[0])
    assert scores.dtype == torch.float32
    assert model.shown[0] == (1, 1, 3, 20, 30)  # without padding


@pytest.mark.parametrize(
    "how",
    [
        Sliding((7, 9)),
        Sliding((7, 9), (5, 2), batch=4),
        Sliding((40, 8), flip=True),
        Sliding((7, 9), scales=(1.0, 1.0), flip=True),
    ],
    ids=str,
)
def test_what_looks_at_single_pixels_does_not_see_the_windows(how: Sliding) -> None:
    model, picture = Pointwise(), image(20, 31)
    expected = model(picture[None, None]).at_labels()[0].log_softmax(-1)
    assert torch.allclose(how(model, picture).log_softmax(-1), expected, atol=1e-5)


def test_overlapping_windows_are_averaged() -> None:
    model, picture = Near(), image(10, 12)
    found = Sliding((6, 7), (3, 4))(model, picture)
    total, times = torch.zeros(10, 12, CLASSES), torch.zeros(10, 12, 1)
    for y, x in itertools.product((0, 3, 4), (0, 4, 5)):
        total[y : y + 6, x : x + 7] += model(picture[None, None, :, y : y + 6, x : x + 7]).at_labels()[0]
        times[y : y + 6, x : x + 7] += 1
    assert torch.allclose(found, total / times, atol=1e-6)
    assert model.shown[:9] == [(1, 1, 3, 6, 7)] * 9
    several = Near()
    assert torch.allclose(Sliding((6, 7), (3, 4), batch=4)(several, picture), found, atol=1e-6)
    assert [shape[1] for shape in several.shown] == [4, 4, 1]


def test_looks_are_averaged_as_probabilities() -> None:
    model, picture = Near(), image(12, 16)
    looks = []
    for scale, mirrored in itertools.product((0.5, 1.0, 1.5), (False, True)):
        size = (round(12 * scale), round(16 * scale))
        seen = F.interpolate(picture[None], size, mode="bilinear", antialias=True)
        logits = model((seen.flip(3) if mirrored else seen)[None]).at_labels()
        logits = F.interpolate(logits.movedim(-1, 1), (12, 16), mode="bilinear").movedim(1, -1)[0]
        looks.append((logits.flip(1) if mirrored else logits).softmax(-1))
    found = Sliding(scales=(0.5, 1.0, 1.5), flip=True)(model, picture)
    assert torch.allclose(found.exp(), torch.stack(looks).mean(0), atol=1e-6)


def test_with_flip_a_mirrored_image_gives_the_mirrored_answer() -> None:
    model, picture = Near(), image(12, 17)
    for how in (Sliding(flip=True), Sliding((8, 17), flip=True, scales=(1.0, 0.75))):
        assert torch.allclose(how(model, picture.flip(2)), how(model, picture).flip(1), atol=1e-5)
    assert not torch.allclose(Sliding()(model, picture.flip(2)), Sliding()(model, picture).flip(1), atol=1e-2)


@pytest.mark.parametrize("size", [(9, 13), (30, 41), (4, 5), (9, 26), (20, 13), (1, 1)])
@pytest.mark.parametrize("at_once", [1, 200, 2**22])
def test_strips_are_torchs_bilinear_resize(size: tuple[int, int], at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "AT_ONCE", at_once)
    scores = torch.randn(9, 13, CLASSES, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(scores.movedim(-1, 0)[None], size, mode="bilinear")[0].movedim(0, -1)
    found = list(strips(scores, size))
    assert torch.allclose(torch.cat(found), expected, atol=1e-5)
    assert torch.equal(classes_at(scores, size), torch.cat(found).argmax(-1))
    assert max(len(strip) for strip in found) == max(1, min(at_once // (size[1] * CLASSES), size[0]))


def test_a_shift_may_forbid_a_class() -> None:
    scores = torch.randn(9, 13, CLASSES, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([-torch.inf, 0.5, 0.0, -torch.inf], dtype=torch.float64)
    for size in ((9, 13), (20, 30), (20, 13)):
        expected = (torch.cat(list(strips(scores, size))) + shift)[..., 1:3].argmax(-1) + 1
        assert torch.equal(classes_at(scores, size, shift), expected)


def test_a_probability_of_nothing_stays_finite() -> None:
    model = Pointwise()
    scores = Sliding(flip=True)(model, 1000 * image(4, 4))
    assert bool(scores.isfinite().all())
    assert bool(torch.cat(list(strips(scores, (9, 9)))).isfinite().all())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": (0, 4)}, "window: must be at least 1 pixel, got 0 x 4"),
        ({"window": (4, 4), "stride": (2, 5)}, "stride: 2 x 5 needs a window"),
        ({"stride": (2, 2)}, "stride: 2 x 2 needs a window"),
        ({"window": (4, 4), "stride": (0, 2)}, "stride: must be at least 1 pixel"),
        ({"scales": ()}, "scales: must be positive"),
        ({"scales": (1.0, 0.0)}, "scales: must be positive"),
        ({"batch": 0}, "batch: must be at least 1"),
    ],
)
def test_mistakes_are_named(options: dict[str, tuple[int, int]], said: str) -> None:
    with pytest.raises(TailwiseError, match=said):
        Sliding(**options)  # type: ignore[arg-type]
