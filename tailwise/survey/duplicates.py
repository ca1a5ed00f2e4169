"""Near duplicates: images that are the same but for size, compression or a few grey levels.

A 64-bit hash of each thumbnail finds candidates without comparing all with all; thumbnails then decide. The hash is the
sign of the 64 lowest frequencies of a discrete cosine transform against their median (the idea of pHash, Zauner, 2010).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ALIKE = 0.3
"""Thumbnails that differ by at most this much, in units of their contrast (`differences`), are of the same picture: on
CIFAR-10 all of a hundred such pairs that were looked at are, and no pair of the 276 has two labels."""

FLAT = 12.0
"""The least contrast that counts, in grey levels: below it noise would decide."""

BITS = 10
"""Hashes that differ in at most so many bits are candidates. Up to 7, one of their four bands differs in at most one bit,
so none is missed; of 8 to 10 some are."""

REACH = 32
"""Candidates of one image in one bucket, the nearest in order of their hashes: thousands of frames of one fixed camera
share a bucket, and clusters grow together through neighbours all the same."""

CROWD = 2000
"""A larger cluster is paired in parts of at most so many images, each of them spread over all of it."""

_BAND = 16
_BLOCK = 1 << 14  # images, or pairs, that are looked at together: their numbers take some 100 MB
_ONES = np.array([n.bit_count() for n in range(1 << _BAND)], dtype=np.uint8)

Thumbnails = NDArray[np.uint8]  # (N, S, S, 3)
Rows = NDArray[np.int64]


class Pair(NamedTuple):
    """Two images that look the same."""

    first: int
    second: int  # above first
    difference: float  # at least 0, see `differences`


def hashes(thumbnails: Thumbnails) -> NDArray[np.uint64]:
    """(N,) the perceptual hash of thumbnails (N, S, S, 3); equal for all images of one even colour."""
    side = thumbnails.shape[1]
    at = np.arange(side)
    cosines = np.cos(np.pi * np.outer(at, 2 * at + 1) / (2 * side)).astype(np.float32)  # (frequency, place)
    frequencies = sorted(((u, v) for u in at.tolist() for v in at.tolist()), key=lambda uv: (sum(uv), uv))[1:65]
    rows, columns = (list(part) for part in zip(*frequencies, strict=True))
    codes = np.empty(len(thumbnails), dtype=np.uint64)
    for block in range(0, len(thumbnails), _BLOCK):
        grey = thumbnails[block : block + _BLOCK].astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        lowest = (cosines @ grey @ cosines.T)[:, rows, columns].round(1)  # so that the rounding of an even image is no bit
        bits = lowest > np.median(lowest, axis=1, keepdims=True)
        codes[block : block + _BLOCK] = np.packbits(bits, axis=1).copy().view(">u8")[:, 0]
    return codes


def differences(a: Thumbnails, b: Thumbnails) -> NDArray[np.float64]:
    """Root mean square of a − b over the larger standard deviation of the two, which is taken to be at least `FLAT`.

    0 for equal thumbnails, about √2 for unrelated ones. (n, S, S, 3) with (n, S, S, 3) gives (n,).
    """
    first, second = (one.reshape(len(one), -1).astype(np.float32) for one in (a, b))
    contrast = np.maximum(np.maximum(first.std(1), second.std(1)), FLAT)
    return np.asarray(np.sqrt(((first - second) ** 2).mean(1)) / contrast, dtype=np.float64)


def clusters(thumbnails: Thumbnails, alike: float = ALIKE) -> Rows:
    """(N,) the cluster of each image, numbered from 0: chains of thumbnails (N, S, S, 3) that differ by ``alike`` or less.

    Time and memory grow about as N, also where all images look the same.
    """
    number = np.arange(len(thumbnails))
    for first, second in _candidates(hashes(thumbnails)):
        apart = number[first] != number[second]
        first, second = first[apart], second[apart]
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(first), _BLOCK)]
        found = [differences(thumbnails[first[block]], thumbnails[second[block]]) <= alike for block in blocks]
        same = np.concatenate([np.zeros(0, dtype=bool), *found])
        if same.any():
            ends = [number[side[same]].astype(np.int32) for side in (first, second)]  # which is what old SciPy takes
            edges = (np.ones(same.sum(), dtype=bool), tuple(ends))
            graph = coo_array(edges, shape=(len(number), len(number)))
            number = connected_components(graph, directed=False)[1].astype(np.int64)[number]
    return np.unique(number, return_inverse=True)[1].astype(np.int64)


def _candidates(codes: NDArray[np.uint64]) -> Iterator[tuple[Rows, Rows]]:
    """Pairs whose hashes differ in at most `BITS` bits: those that agree in a band, or but for a bit of it.

    Bands come first in the order that hashes are sorted by, so a band's bucket is a run, and its bit flipped another one.
    """
    shift = np.uint64(64 - _BAND)
    for band in range(0, 64, _BAND):
        turned = codes << np.uint64(band) | (codes >> np.uint64(64 - band) if band else np.uint64(0))
        order = np.argsort(turned, kind="stable")
        turned = turned[order]
        keys = turned >> shift
        for flip in (0, *(1 << bit for bit in range(_BAND))):
            sought = turned ^ (np.uint64(flip) << shift)
            # each pair once: a bucket with itself looks forward, of two buckets the lower one looks
            near = np.arange(1, len(codes) + 1) if flip == 0 else np.searchsorted(turned, sought) - REACH // 2
            begin = np.maximum(np.searchsorted(keys, sought >> shift), near)
            end = np.minimum(np.searchsorted(keys, sought >> shift, side="right"), near + REACH)
            asking = ((end > begin) & (sought >= turned)).nonzero()[0]
            found = [(order[:0], order[:0])]
            for start in range(0, len(asking), _BLOCK // REACH):
                rows = asking[start : start + _BLOCK // REACH]
                many = end[rows] - begin[rows]
                first = np.repeat(rows, many)
                second = np.arange(many.sum()) + np.repeat(begin[rows] - (many.cumsum() - many), many)
                close = _ONES[(turned[first] ^ turned[second]).view(np.uint16)].reshape(-1, 4).sum(1) <= BITS
                found.append((order[first[close]], order[second[close]]))
            first, second = (np.concatenate(part) for part in zip(*found, strict=True))
            yield first, second


def pairs(thumbnails: Thumbnails, number: Rows, *sides: Rows | NDArray[np.bool_], alike: float = ALIKE) -> list[Pair]:
    """Each image of a cluster with the one that is most like it; and with the most alike on another side, of each ``sides``.

    ``number`` (N,) is the cluster of each image, a side (N,) such as its split or its label. Only pairs that differ by
    ``alike`` or less themselves, at most 1 + the number of sides for each image, the most alike first.
    """
    found: dict[tuple[int, int], float] = {}
    order = np.argsort(number, kind="stable")
    for cluster in np.split(order, np.flatnonzero(np.diff(number[order])) + 1):
        crowds = -(-len(cluster) // CROWD)
        for rows in (cluster[crowd::crowds] for crowd in range(crowds) if len(cluster) > 1):
            apart = _distances(thumbnails[rows])
            for side in (np.arange(len(rows)), *(side[rows] for side in sides)):
                other = np.where(side[:, None] == side, np.inf, apart)
                nearest = other.argmin(1)
                difference = other[np.arange(len(rows)), nearest]
                for i in np.flatnonzero(difference <= alike):
                    a, b = sorted((int(rows[i]), int(rows[nearest[i]])))
                    found[a, b] = 0.0 if (thumbnails[a] == thumbnails[b]).all() else float(difference[i])
    return sorted((Pair(a, b, difference) for (a, b), difference in found.items()), key=lambda pair: (pair.difference, pair))


def _distances(thumbnails: Thumbnails) -> NDArray[np.float32]:
    """(n, n) `differences` of all with all."""
    pixels = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    contrast = np.maximum(pixels.std(1), FLAT)
    pixels -= 128  # small numbers, so that the difference of squares keeps its digits
    squares = (pixels**2).mean(1)
    square = squares[:, None] + squares - 2 * pixels @ pixels.T / pixels.shape[1]
    return np.asarray(np.sqrt(square.clip(min=0)) / np.maximum(contrast[:, None], contrast), dtype=np.float32)
