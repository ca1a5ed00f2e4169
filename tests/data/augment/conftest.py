import pytest
import torch
from torch import Tensor

from tailwise import rng


@pytest.fixture(scope="session")
def pictures() -> Tensor:
    """Noise, ramps, gray, few levels, one level: (24, 3, 24, 31) uint8."""
    noise = rng.integers(256, 8, torch.arange(24 * 3 * 24 * 31)).view(24, 3, 24, 31)
    noise[:6] = (noise[:6] % 8 + torch.arange(24)[:, None] * 5 + torch.arange(31) * 4).clamp(max=255)
    noise[6:10] = noise[6:10, :1]
    noise[10] //= 64
    noise[11], noise[12, 1] = 77, 0
    return noise.to(torch.uint8)
