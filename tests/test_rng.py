import pytest
import torch

from tailwise import rng

N = 1 << 16


def test_mix_is_a_function_of_the_coordinates_and_their_order() -> None:
    a = rng.mix(1, 2, torch.arange(5))
    assert torch.equal(a, rng.mix(1, 2, torch.arange(5)))
    assert not bool((a == rng.mix(2, 1, torch.arange(5))).any())
    assert not bool((a == rng.mix(1, torch.arange(5))).any())
    assert not bool((rng.mix(0, torch.arange(5)) == rng.mix(torch.arange(5), 0))[1:].any())


def test_one_element_is_the_hash_of_its_own_coordinates() -> None:
    """What makes a draw independent of batch, worker and order."""
    rows, columns = torch.arange(3)[:, None], torch.arange(4)
    table = rng.mix(7, rows, columns)
    assert table.shape == (3, 4)
    for i in range(3):
        for j in range(4):
            assert int(table[i, j]) == int(rng.mix(7, i, j)) == int(rng.mix(7, torch.tensor(i), j))


def test_no_collisions_on_a_grid_of_small_numbers() -> None:
    table = rng.mix(torch.arange(256)[:, None], torch.arange(256))
    assert table.unique().numel() == N


def test_large_and_negative_integers_are_taken() -> None:
    assert int(rng.mix(2**64 - 1)) == int(rng.mix(-1))
    assert int(rng.mix(2**63)) == int(rng.mix(-(2**63)))


def test_uniform_is_uniform() -> None:
    u = rng.uniform(3, torch.arange(N))
    assert u.dtype == torch.float64
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    counts = torch.histc(u, bins=64, min=0, max=1)
    chi2 = float(((counts - N / 64) ** 2 / (N / 64)).sum())
    assert 20 < chi2 < 130  # 63 degrees of freedom: 99.999 % of all draws lie inside


@pytest.mark.parametrize("other", [(4,), (3, 0), (3, 1)])
def test_streams_are_independent(other: tuple[int, ...]) -> None:
    i = torch.arange(N)
    pair = torch.stack([rng.uniform(3, i), rng.uniform(*other, i)])
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 5 / N**0.5
    consecutive = torch.stack([pair[0, 1:], pair[0, :-1]])
    assert abs(float(torch.corrcoef(consecutive)[0, 1])) < 5 / N**0.5


def test_every_bit_of_every_coordinate_matters() -> None:
    """A flipped input bit flips about half of the output bits."""
    x = torch.arange(512)
    for bit in (0, 1, 31, 62):
        changed = rng.mix(x, 5) ^ rng.mix(x ^ (1 << bit), 5)
        flipped = sum((changed >> b & 1).double().mean() for b in range(64))
        assert 31 < float(flipped) < 33


def test_integers_cover_their_range_evenly() -> None:
    draws = rng.integers(9, 1, torch.arange(9000))
    counts = torch.bincount(draws, minlength=9)
    assert counts.numel() == 9
    assert int(counts.min()) > 850
    assert int(counts.max()) < 1150


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_permutation_is_one(n: int) -> None:
    order = rng.permutation(n, 0, 1)
    assert torch.equal(order.sort().values, torch.arange(n))


def test_permutations_differ_by_coordinate_and_are_unbiased() -> None:
    assert not torch.equal(rng.permutation(100, 0, 1), rng.permutation(100, 0, 2))
    firsts = torch.bincount(torch.stack([rng.permutation(5, 0, epoch)[0] for epoch in range(1000)]), minlength=5)
    assert int(firsts.min()) > 140
    assert int(firsts.max()) < 260


def test_seed_of_fits_other_generators() -> None:
    seeds = [rng.seed_of(torch.tensor(key), 1) for key in range(200)]
    assert len(set(seeds)) == 200
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert seeds[3] != rng.seed_of(torch.tensor(3), 2)


def test_global_generators_are_left_alone() -> None:
    before = torch.random.get_rng_state()
    rng.permutation(100, 0)
    rng.uniform(0, torch.arange(9))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("device", ["meta"])
def test_result_lies_where_the_tensor_coordinates_lie(device: str) -> None:
    key = torch.zeros(4, dtype=torch.int64, device=device)
    assert rng.uniform(0, key, 1).device.type == device
    assert rng.mix(key, torch.tensor(3)).device.type == device
