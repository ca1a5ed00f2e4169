"""Randomness as a function of where it is used, never of what was drawn before.

`mix` hashes integers (seed, epoch, position, view, slot, …) into one int64; everything else reads that hash. The same
coordinates give the same draw on any device, in any worker, in any order, which is what makes the k-th batch of a run
computable from k alone.
"""

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """The two's-complement int64 with the bits of an unsigned 64-bit number."""
    return value - (1 << 64) if value >= 1 << 63 else value


_STEP = _signed(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio: consecutive coordinates land far apart
_MULTIPLIERS = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))  # of the SplitMix64 finaliser


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical (not arithmetic) shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _avalanche(x: Tensor) -> Tensor:
    """SplitMix64's finaliser: every input bit reaches every output bit (Steele, Lea & Flood, OOPSLA 2014)."""
    x = (x ^ _shift_right(x, 30)) * _MULTIPLIERS[0]
    x = (x ^ _shift_right(x, 27)) * _MULTIPLIERS[1]
    return x ^ _shift_right(x, 31)


def mix(*coordinates: int | Tensor) -> Tensor:
    """One int64 hash of the coordinates, which broadcast against each other; their order matters."""
    state = torch.zeros((), dtype=torch.int64)
    for coordinate in coordinates:
        c = coordinate if isinstance(coordinate, Tensor) else torch.tensor(_signed(coordinate % (1 << 64)))
        state = _avalanche(state.to(c.device if c.ndim else state.device) * 3 + c.to(torch.int64) * 2 + _STEP)
        state = _avalanche(state + _STEP)
    return state


def uniform(*coordinates: int | Tensor) -> Tensor:
    """Uniform draws in [0, 1), float64 with 53 random bits, one for each element of the broadcast coordinates."""
    return _shift_right(mix(*coordinates), 11).double() * 2.0**-53


def integers(high: int, *coordinates: int | Tensor) -> Tensor:
    """Uniform whole numbers in [0, high), int64."""
    return (uniform(*coordinates) * high).to(torch.int64).clamp(max=high - 1)


def permutation(n: int, *coordinates: int | Tensor) -> Tensor:
    """A uniformly random order of 0..n−1, a function of the coordinates alone."""
    return torch.argsort(uniform(*coordinates, torch.arange(n)), stable=True)


def seed_of(key: Tensor, *coordinates: int) -> int:
    """A seed below 2³² for generators that are not ours (torchvision, NumPy), from one draw's key."""
    return int(_shift_right(mix(key, *coordinates), 32))
