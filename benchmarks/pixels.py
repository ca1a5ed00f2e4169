"""What pixels cost: losses of the logits of every pixel, in one call and in chunks; and the draw of some pixels to contrast."""

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.measure import Row, peak_mib, seconds
from tailwise import rng
from tailwise.counts import log_prior
from tailwise.losses import Balanced, Draw, Uniform, cross_entropy, focal, logit_adjusted, rows
from tailwise.losses.samples import samples
from tailwise.types import IGNORE, Batch

SIDE, CLASSES = 512, 150
IMAGES = {"cpu": 2, "cuda": 16}
"""Images of 512 × 512 pixels and 150 classes, as ADE20K has: 16 of them have 629 million logits, 2.3 GiB in float32."""
DRAWS = ((8, 180, 240, 11), (16, 512, 512, 150))
"""Images, height, width, classes."""


@contextlib.contextmanager
def limit(logits: int) -> Iterator[None]:
    """Chunks of at most so many logits."""
    before, rows.LIMIT = rows.LIMIT, logits
    try:
        yield
    finally:
        rows.LIMIT = before


def step(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Values of a loss and the gradient of their mean."""
    with limit(chunk):
        values = loss(logits, labels)
        return values.detach(), torch.autograd.grad(values.mean(), logits)[0]


def loss_row(name: str, loss: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype, device: str) -> Row:
    """Memory and time of a loss, forward and backward."""
    made = torch.Generator(device).manual_seed(0)
    shape = (IMAGES[device] * SIDE**2, CLASSES)
    logits = torch.randn(shape, generator=made, device=device, dtype=dtype).requires_grad_()
    labels = torch.randint(CLASSES, shape[:1], generator=made, device=device)
    ways = {
        "one call": partial(step, loss, logits, labels, sys.maxsize),
        "chunks": partial(step, loss, logits, labels, rows.LIMIT),
    }
    for whole, chunked in zip(ways["one call"](), ways["chunks"](), strict=True):
        torch.testing.assert_close(chunked, whole)
    del whole, chunked
    peaks = {way: peak_mib(run) for way, run in ways.items()}
    took = seconds(ways, repeats=3, warm_up=0)
    gradient = logits.numel() * logits.element_size() / 2**20
    return {
        "loss": name,
        "logits": f"{IMAGES[device]} x {SIDE} x {SIDE} x {CLASSES} {str(dtype).removeprefix('torch.')}",
        "logits MiB": round(gradient),
        **{f"{way}, MiB": round(peak) for way, peak in peaks.items()},
        "chunks, beyond the gradient": round(peaks["chunks"] - gradient),
        "memory, one call / chunks": round(peaks["one call"] / peaks["chunks"], 2),
        **{f"{way}, s": round(took[way], 3) for way in ways},
        "time, chunks / one call": round(took["chunks"] / took["one call"], 2),
    }


def some_labels(images: int, height: int, width: int, classes: int, device: str) -> Tensor:
    """Patches of classes, a few of which have most of the area; one pixel in twenty unlabelled."""
    made = torch.Generator().manual_seed(0)
    patches = (torch.rand(images, height // 16 + 1, width // 16 + 1, generator=made) ** 3 * classes).long()
    labels = patches.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :height, :width].contiguous()
    labels[torch.rand(labels.shape, generator=made) < 0.05] = IGNORE
    return labels.to(device)


def in_turn(labels: Tensor, count: int) -> Counter[int]:
    """How often each class of an image (H, W) is drawn, class after class."""
    sizes = Counter(labels[labels >= 0].tolist())
    return Counter(c for _, _, c in sorted((turn, n, c) for c, n in sizes.items() for turn in range(min(n, count)))[:count])


def draw_row(images: int, height: int, width: int, classes: int, device: str) -> Row:
    """The draw of 64 pixels of each image, and a random order of all pixels, from which one could take the first."""
    labels, index = some_labels(images, height, width, classes, device), torch.arange(images, device=device)
    batch = Batch(labels[None], labels, index, rng.mix(0, index))
    features = torch.zeros(1, images, height // 4, width // 4, 8, device=device)
    _, drawn, _ = samples(features, batch, Balanced())
    for image, of in zip(labels, drawn.view(images, -1), strict=True):
        if Counter(of.tolist()) != in_turn(image, 64):
            raise AssertionError("classes do not take turns")
    draws: dict[str, Draw] = {"balanced": Balanced(), "uniform": Uniform()}
    ways: dict[str, Callable[[], object]] = {name: partial(samples, features, batch, draw) for name, draw in draws.items()}
    places = torch.arange(height * width, device=device)
    ways["order of all"] = lambda: rng.uniform(batch.key[:, None], places).argsort(1)
    took = seconds(ways, repeats=5, warm_up=1)
    return {
        "images": f"{images} x {height} x {width}",
        "classes": classes,
        **{f"{way}, ms": round(1e3 * value, 1) for way, value in took.items()},
        "order of all / balanced": round(took["order of all"] / took["balanced"], 1),
    }


def measure(device: str = "cpu") -> dict[str, list[Row]]:
    """Both tables."""
    prior = log_prior(torch.arange(CLASSES) + 1).float().to(device)
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "cross-entropy": cross_entropy,
        "logit adjusted": lambda logits, labels: logit_adjusted(logits, labels, prior),
        "focal": lambda logits, labels: focal(logits, labels, 1.0),
    }
    precisions = torch.float32, torch.bfloat16
    return {
        "Losses of every pixel, forward and backward": [
            loss_row(name, loss, dtype, device) for name, loss in losses.items() for dtype in precisions
        ],
        "Drawing 64 pixels of each image": [draw_row(*case, device) for case in DRAWS],
    }


if __name__ == "__main__":
    for title, table in measure("cuda" if torch.cuda.is_available() else "cpu").items():
        print(title, *table, sep="\n")
