"""The residual network for small images: He et al., "Deep Residual Learning", CVPR 2016, section 4.2."""

import torch.nn.functional as F
from torch import Tensor, nn

from tailwise.types import TailwiseError

DEPTHS = (8, 14, 20, 32, 44, 56, 110)
"""The depths 6n + 2 that have a name."""


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut without parameters (the paper's option A)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.missing = width - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, width, ⌈H / stride⌉, ⌈W / stride⌉)."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.missing:
            x = F.pad(x, (0, 0, 0, 0, self.missing // 2, self.missing - self.missing // 2))
        return F.relu(x + y)


class ResNetCifar(nn.Module):
    """Depth 6n + 2: one convolution, three stages of n blocks with 16, 32 and 64 channels, global average pooling.

    Takes images (N, 3, H, W) with sides of at least 8 and gives features (N, 64). Convolutions start from
    He et al.'s normal distribution. Raises `TailwiseError` for a depth that is not 6n + 2.
    """

    num_features = 64

    def __init__(self, depth: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise TailwiseError(f"resnet{depth}: the depth of a CIFAR ResNet is 6n + 2, such as {', '.join(map(str, DEPTHS))}")
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        stages: list[nn.Module] = []
        for inputs, width, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2)):
            stages.append(Block(inputs, width, stride))
            stages.extend(Block(width, width, 1) for _ in range(blocks - 1))
        self.blocks = nn.Sequential(*stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 64)."""
        x = F.relu(self.norm(self.stem(x)))
        return self.blocks(x).mean(dim=(2, 3))  # type: ignore[no-any-return]
