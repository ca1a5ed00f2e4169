"""Near duplicates against all pairs in plain loops, and in sets where everything looks the same."""

import numpy as np
import pytest
from survey.folders import scene

from tailwise.survey import duplicates
from tailwise.survey.duplicates import ALIKE, FLAT, clusters, differences, hashes, pairs


def thumbnail(image: object) -> np.ndarray:
    return np.asarray(image.resize((16, 16)))  # type: ignore[attr-defined]


def planted(n: int = 40, copies: int = 15, noise: int = 6) -> np.ndarray:
    """``n`` pictures, and the first ``copies`` of them once more with noise."""
    rng = np.random.default_rng(0)
    originals = np.stack([thumbnail(scene(seed)) for seed in range(n)])
    again = originals[:copies].astype(int) + rng.integers(-noise, noise + 1, (copies, 16, 16, 3))
    return np.concatenate([originals, again.clip(0, 255).astype(np.uint8)])


def slow_difference(a: np.ndarray, b: np.ndarray) -> float:
    total = float(((a.astype(int) - b.astype(int)) ** 2).sum())
    contrast = max(float(a.astype(float).std()), float(b.astype(float).std()), FLAT)
    return float((total / a.size) ** 0.5 / contrast)


def slow_clusters(thumbnails: np.ndarray) -> set[frozenset[int]]:
    of = {i: {i} for i in range(len(thumbnails))}
    for i in of:
        for j in range(i):
            if slow_difference(thumbnails[i], thumbnails[j]) <= ALIKE and of[i] is not of[j]:
                of[j] |= of[i]
                for k in of[i]:
                    of[k] = of[j]
    return {frozenset(members) for members in of.values()}


def test_a_difference_is_that_of_its_definition() -> None:
    some = planted(4, 1)
    found = differences(some[:4], some[[1, 0, 3, 4]])
    assert np.allclose(found, [slow_difference(some[i], some[j]) for i, j in enumerate([1, 0, 3, 4])], atol=1e-5)
    flat = np.zeros((1, 16, 16, 3), dtype=np.uint8)
    assert differences(flat, flat + 3)[0] == pytest.approx(3 / FLAT)


def test_clusters_are_those_of_all_pairs() -> None:
    thumbnails = planted()
    number = clusters(thumbnails)
    found = {frozenset(np.flatnonzero(number == c).tolist()) for c in range(number.max() + 1)}
    assert found == slow_clusters(thumbnails)
    assert sorted(map(len, found)) == [1] * 25 + [2] * 15


def test_compression_and_size_change_few_bits() -> None:
    small, large = (hashes(np.stack([thumbnail(scene(seed, size)) for seed in range(40)])) for size in ((64, 48), (200, 150)))
    apart = [(int(a) ^ int(b)).bit_count() for a, b in zip(small, large, strict=True)]
    assert max(apart) <= duplicates.BITS
    others = [(int(a) ^ int(b)).bit_count() for a, b in zip(small, np.roll(small, 1), strict=True)]
    assert min(others) > duplicates.BITS
    even = np.stack([np.full((16, 16, 3), level, dtype=np.uint8) for level in (0, 7, 128, 255)])
    assert len(set(hashes(even).tolist())) == 1


@pytest.mark.parametrize("flips", range(8))
def test_candidates_have_at_most_one_bit_of_a_band_apart(flips: int) -> None:
    rng = np.random.default_rng(flips)
    codes = rng.integers(0, 2**63, 200, dtype=np.uint64)
    other = codes.copy()
    for i in range(len(other)):
        for bit in rng.choice(64, flips, replace=False):
            other[i] ^= np.uint64(1) << np.uint64(bit)
    blocks = list(duplicates._candidates(np.concatenate([codes, other])))
    found = {frozenset(pair) for first, second in blocks for pair in zip(first.tolist(), second.tolist(), strict=True)}
    assert {frozenset((i, i + 200)) for i in range(200)} <= found


def test_a_crowd_is_one_cluster_and_takes_little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    frames = (thumbnail(scene(0)).astype(int) * 0.8 + rng.integers(-4, 5, (300, 16, 16, 3))).clip(0, 255).astype(np.uint8)
    compared = 0

    def counting(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += len(a)
        return differences(a, b)

    monkeypatch.setattr(duplicates, "differences", counting)
    monkeypatch.setattr(duplicates, "CROWD", 100)
    number = clusters(frames)
    assert number.max() == 0
    assert compared < 60 * len(frames)
    assert 300 / 2 <= len(pairs(frames, number, np.arange(300) % 2)) <= 2 * 300


def test_pairs_are_the_most_alike_and_reach_the_other_side() -> None:
    one = thumbnail(scene(0)).astype(int)
    shifts = (0, 4, 12)  # levels: the first two are closest, the third is on another side
    thumbnails = np.stack([(one * 0.8 + shift).astype(np.uint8) for shift in shifts] + [thumbnail(scene(1))])
    number = clusters(thumbnails)
    assert number[:3].tolist() == [number[0]] * 3 != [number[3]] * 3
    assert [pair[:2] for pair in pairs(thumbnails, number)] == [(0, 1), (1, 2)]
    side = np.array([0, 0, 1, 1])
    assert {pair[:2] for pair in pairs(thumbnails, number, side)} == {(0, 1), (0, 2), (1, 2)}
    for pair in pairs(thumbnails, number, side):
        assert pair.difference == pytest.approx(slow_difference(thumbnails[pair.first], thumbnails[pair.second]), abs=1e-3)
    assert pairs(thumbnails, number, alike=0.0) == []
    twice = np.concatenate([thumbnails, thumbnails[:1]])
    assert pairs(twice, clusters(twice, 0.0), alike=0.0) == [(0, 4, 0.0)]
