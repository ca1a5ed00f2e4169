"""Networks whose features are their input, held-out samples of them, and long-tailed counts."""

from typing import Literal

import torch
from torch import Tensor, nn

from tailwise.models import Network
from tailwise.posthoc import Validation

DIM, CLASSES = 64, 4
COUNTS = torch.tensor([500, 100, 20, 5])
KINDS = ("linear", "cosine", "scaled")


def head(classifier: Literal["linear", "cosine", "scaled"], seed: int = 0) -> Network:
    """A network that maps rows (V, N, 64) to 4 classes."""
    torch.manual_seed(seed)
    network = Network("resnet8", CLASSES, classifier).double()
    network.backbone = nn.Identity()
    if classifier == "scaled":
        nn.init.uniform_(network.classifier.scales, 0.5, 2.0)  # type: ignore[arg-type]
    return network


def logits_of(network: Network, rows: Tensor) -> Tensor:
    """(N, C) for rows (N, 64)."""
    with torch.no_grad():
        return network(rows[None]).logits[0]  # type: ignore[no-any-return]


def rows_for(network: Network, labels: Tensor, noise: float = 1.0) -> Tensor:
    """Features (N, 64) around the classifier's own rows."""
    generator = torch.Generator().manual_seed(7)
    rows = network.classifier.weight.detach()[labels]
    return 3 * rows / rows.norm(dim=1, keepdim=True) + noise * torch.randn(len(labels), DIM, generator=generator).double()


def held_out(network: Network, per_class: int = 10, noise: float = 1.0) -> tuple[Tensor, Validation]:
    """Features and what the network says about them, with as many samples of each class."""
    labels = torch.arange(CLASSES).repeat_interleave(per_class)
    rows = rows_for(network, labels, noise)
    return rows, Validation(logits_of(network, rows), labels)
