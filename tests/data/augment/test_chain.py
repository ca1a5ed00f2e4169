"""Chains: who draws what, and the helpers that cut batches."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor

from tailwise import rng
from tailwise.data import Encoded, Images, Stacked
from tailwise.data.augment import PRESETS, Chain, Whole, chain, preset
from tailwise.data.augment.chain import in_pieces, on_some, pieces, whole_number

N = 6
IMAGES = Stacked(torch.arange(N * 3 * 16 * 20).reshape(N, 3, 16, 20).mul(7).remainder(256).to(torch.uint8))
KEY = rng.mix(5, torch.arange(N))


class Spy:
    """A step that keeps the numbers it was given."""

    def __init__(self, draws: int) -> None:
        self.draws = draws

    def __call__(self, pixels: Tensor, u: Tensor) -> Tensor:
        self.u = u
        return pixels + self.draws


def test_every_part_gets_numbers_of_its_own() -> None:
    class Read:
        draws: ClassVar[int] = 2

        def __call__(self, images: object, index: Tensor, u: Tensor) -> Tensor:
            assert torch.equal(u, torch.stack([rng.uniform(KEY, 0), rng.uniform(KEY, 1)]))
            return torch.zeros(len(index), 3, 2, 2)

    first, none, last = Spy(3), Spy(0), Spy(1)
    out = Chain(Read(), (first, none, last))(IMAGES, torch.arange(N), KEY)
    assert torch.equal(first.u, torch.stack([rng.uniform(KEY, slot) for slot in (2, 3, 4)]))
    assert none.u.shape == (0, N)
    assert torch.equal(last.u[0], rng.uniform(KEY, 5))
    assert (out == 4).all()


def test_whole_numbers_are_all_in_range_and_equally_likely() -> None:
    u = rng.uniform(torch.arange(60_000))
    assert torch.equal(whole_number(u, 6).unique(), torch.arange(6))
    assert int((whole_number(u, 6).bincount() - 10_000).abs().max()) < 400
    assert whole_number(torch.tensor([1 - 2.0**-53]), 6) == 5
    assert whole_number(torch.tensor([0.5, 0.5]), torch.tensor([4, 9])).tolist() == [2, 4]


@pytest.mark.parametrize("piece", [1, 2 * 3 * 16 * 20, 1 << 30])
def test_pieces_cover_a_batch_in_order(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(chain, "PIECE", piece)
    assert torch.equal(torch.cat([part for part, _ in pieces(IMAGES.pixels, KEY)]), IMAGES.pixels)
    out = IMAGES.pixels.clone()
    in_pieces(lambda pixels, number: pixels * 0 + number[:, None, None, None], out, torch.arange(N))
    assert torch.equal(out, torch.arange(N)[:, None, None, None].expand_as(out).to(torch.uint8))


def test_only_the_chosen_are_changed() -> None:
    chosen, before = torch.tensor([True, False, False, True, False, True]), IMAGES.pixels.clone()
    out = on_some(lambda pixels, number: number[:, None, None, None].expand_as(pixels), before, chosen, torch.arange(N))
    for i in range(N):
        assert torch.equal(out[i], torch.full_like(out[i], i) if chosen[i] else IMAGES.pixels[i])
    assert torch.equal(before, IMAGES.pixels)
    assert torch.equal(on_some(torch.bitwise_not, before, ~chosen & chosen), before)


@pytest.mark.parametrize("name", [function.__name__ for function in PRESETS])
def test_results_do_not_depend_on_how_a_batch_is_cut(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    made = []
    for piece in (1, 1 << 30):
        monkeypatch.setattr(chain, "PIECE", piece)
        made.append(preset(name, 16)(IMAGES, torch.arange(N), KEY))
    assert torch.equal(*made)


@pytest.mark.parametrize("name", [function.__name__ for function in PRESETS])
@pytest.mark.parametrize("images", [IMAGES, Encoded([])], ids=["stacked", "encoded"])
def test_no_pictures_stay_no_pictures(name: str, images: Images) -> None:
    options = {"gray": 0.5, "blur": 0.5} if name == "imagenet_randaugment" else {}
    out = preset({name: options}, 12)(images, torch.arange(0), KEY[:0])
    assert (out.shape, out.dtype) == ((0, 3, 12, 12), torch.uint8)


@pytest.mark.parametrize("name", [function.__name__ for function in PRESETS])
def test_nothing_waits_for_another_device(name: str) -> None:
    """On the device "meta" a tensor has no values: asking for one fails, and so does mixing it with tensors of the CPU."""
    on_meta, index, key = (
        Stacked(torch.empty(3, 3, 16, 20, dtype=torch.uint8, device="meta")),
        torch.arange(3).repeat(50),
        KEY.repeat(25),
    )
    options = {"gray": 0.5, "blur": 0.5} if name == "imagenet_randaugment" else {}
    out = preset({name: options}, 16)(on_meta, index, key)
    assert out.device.type == "meta"
    assert (out.shape, out.dtype) == ((150, 3, 16, 16), torch.uint8)


def test_a_chain_equals_another_of_the_same_parts() -> None:
    assert preset("simaugment", 16) == preset("simaugment", 16) != preset({"simaugment": {"blur": 0.5}}, 16)
    assert Chain(Whole(3)) != Chain(Whole(4))
