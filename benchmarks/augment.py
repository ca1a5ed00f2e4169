"""Augmentation: views a second on one thread, ours against torchvision on Pillow pictures and against kornia.

Small pictures come from memory: Pillow objects for torchvision, bytes for ours, floats for kornia, which gives floats
too and so is spared two conversions. kornia's AutoAugment and RandAugment draw one policy for a whole batch, and its
jitter one order; "kornia, picture by picture" is what draws them for each picture, as torchvision and ours do.
Large pictures are JPEG files, read by workers, ours against timm's loader.

Before anything is timed, one batch is compared with torchvision's in distribution, and with itself made one by one.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.measure import Row, seconds, warm_allocator
from benchmarks.tables import markdown
from tailwise import rng
from tailwise.data import Encoded, Split, Stacked
from tailwise.data.augment import Chain, RandAugment, ResizedCropFlip
from tailwise.data.augment.presets import MEAN
from tailwise.data.loader import TrainLoader
from tailwise.data.views import IMAGENET, MultiView, multi_view

BATCH, VIEWS, SIZE = 128, 3, 32
CASES = {
    "crop_flip": ("crop_flip",) * VIEWS,
    "cifar_autoaugment (GML)": ("cifar_autoaugment",) * VIEWS,
    "simaugment": ("simaugment",) * VIEWS,
    "cifar_autoaugment, simaugment, simaugment (BCL)": ("cifar_autoaugment", "simaugment", "simaugment"),
    "imagenet_randaugment": ("imagenet_randaugment",) * VIEWS,
}
"""The presets of the three views of a batch."""
FILES, FILE_SIDES, CROP = 300, (500, 375), 224


def photographs(n: int, width: int, height: int) -> Tensor:
    """Smooth coloured noise with fine grain, which compresses and equalises about as photographs do: (n, 3, height, width)."""
    made = torch.Generator().manual_seed(0)
    rough = F.interpolate(torch.rand(n, 3, 6, 8, generator=made) * 255, (height, width), mode="bicubic")
    return (rough + 10 * torch.randn(rough.shape, generator=made)).clamp(0, 255).to(torch.uint8)


def on_pictures(name: str) -> Callable[[Image.Image], Tensor]:
    """A preset as torchvision's transforms from a Pillow picture to pixels."""

    def cutout(pixels: Tensor) -> Tensor:
        y, x = (int(torch.randint(SIZE, ())) for _ in range(2))
        pixels[:, max(y - 8, 0) : y + 8, max(x - 8, 0) : x + 8] = 0
        return pixels

    crop = [v2.RandomCrop(SIZE, 4), v2.RandomHorizontalFlip()]
    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8)
    policy = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10, fill=128)
    part = [v2.RandomResizedCrop(SIZE, (0.2 if name == "simaugment" else 0.08, 1)), v2.RandomHorizontalFlip()]
    steps: dict[str, list[Any]] = {
        "crop_flip": [*crop, v2.PILToTensor()],
        "cifar_autoaugment": [*crop, policy, v2.PILToTensor(), cutout],
        "simaugment": [*part, jitter, v2.RandomGrayscale(0.2), v2.PILToTensor()],
        "imagenet_randaugment": [
            *part,
            v2.ColorJitter(0.4, 0.4, 0.4),
            v2.RandAugment(2, 30, fill=list(MEAN)),
            v2.PILToTensor(),
        ],
    }
    return v2.Compose(steps[name])  # type: ignore[no-any-return]


def in_kornia(name: str) -> Callable[[Tensor], Tensor]:
    """A preset as kornia's modules on floats in [0, 1] (n, 3, 32, 32); raises ImportError where kornia is not installed."""
    import kornia.augmentation as K
    from kornia.augmentation import auto

    crop = [K.RandomCrop((SIZE, SIZE), padding=4), K.RandomHorizontalFlip()]
    part = [K.RandomResizedCrop((SIZE, SIZE), (0.2 if name == "simaugment" else 0.08, 1)), K.RandomHorizontalFlip()]
    steps: dict[str, list[Any]] = {
        "crop_flip": crop,
        "cifar_autoaugment": [*crop, auto.AutoAugment("cifar10"), K.RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0))],
        "simaugment": [*part, K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8), K.RandomGrayscale(p=0.2)],
        "imagenet_randaugment": [*part, K.ColorJitter(0.4, 0.4, 0.4, 0.0), auto.RandAugment(2, 29)],
    }
    made: Callable[[Tensor], Tensor] = K.AugmentationSequential(*steps[name])
    return made


def ours(names: Sequence[str], pixels: Tensor) -> Callable[[], Tensor]:
    """One call gives all views (V, B, 3, 32, 32) uint8."""
    views = MultiView(multi_view(names, SIZE, IMAGENET).augments, lambda pixels: pixels)  # type: ignore[arg-type]
    images, index = Stacked(pixels), torch.arange(len(pixels))
    return lambda: views.of(images, index, rng.mix(7, index))


def check(names: Sequence[str], pixels: Tensor) -> None:
    """Raise unless pictures made alone are those of the batch, and views look like torchvision's in mean and contrast."""
    made = ours(names, pixels)()
    views, images = multi_view(names, SIZE, IMAGENET), Stacked(pixels)
    for i in range(0, len(pixels), 17):
        index = torch.tensor([i])
        if not torch.equal(views.of(images, index, rng.mix(7, index)), views.normalise(made[:, i : i + 1])):
            raise AssertionError(f"{names}: picture {i} depends on its batch")
    pictures = [v2.functional.to_pil_image(picture) for picture in pixels.cpu()]
    for view, name in enumerate(names):
        theirs = torch.stack([on_pictures(name)(picture) for picture in pictures]).float()
        mine = made[view].float().cpu()
        away = max(abs(float(f(mine) - f(theirs))) for f in (torch.mean, torch.std, lambda x: x.flatten(1).std(1).mean()))
        if made.dtype != torch.uint8 or away > 12:
            raise AssertionError(f"{name}: {away:.1f} levels from torchvision")


def each(transforms: Sequence[Callable[[Any], Any]], pictures: Sequence[Any]) -> list[Any]:
    """Every transform of every picture."""
    return [transform(picture) for picture in pictures for transform in transforms]


def small(device: str) -> list[Row]:
    """Views a second of each case; the Pillow pictures are always on the CPU."""
    pixels, rows = photographs(BATCH, SIZE, SIZE).to(device), []
    floats, pictures = pixels.float() / 255, [v2.functional.to_pil_image(picture) for picture in pixels.cpu()]
    few = 16
    for case, names in CASES.items():
        check(names, pixels)
        contestants: dict[str, tuple[int, Callable[[], object]]] = {"ours": (BATCH * VIEWS, ours(names, pixels))}
        transforms = [on_pictures(name) for name in names]
        contestants["Pillow"] = (
            few * VIEWS,
            partial(each, transforms, pictures[:few]),
        )
        try:
            modules = [in_kornia(name) for name in names]
        except ImportError:
            print("kornia not installed: pip install kornia")
        else:
            contestants["kornia"] = (BATCH * VIEWS, partial(each, modules, [floats]))
            contestants["kornia, picture by picture"] = (2 * VIEWS, partial(each, modules, [floats[:1], floats[1:2]]))
        warm_allocator()
        taken = seconds({name: function for name, (_, function) in contestants.items()}, repeats=15)
        rate = {name: made / taken[name] for name, (made, _) in contestants.items()}
        row: Row = {"views": case, **{f"{name}, views/s": value for name, value in rate.items()}}
        rows.append(row | {f"ours / {name}": rate["ours"] / rate[name] for name in rate if name != "ours"})
    return rows


def large(workers: int = 2) -> list[Row]:
    """Images a second of whole epochs over JPEG files, decoded and augmented by workers: ours and timm's loader."""
    from timm.data import ImageDataset, create_loader

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{i % 10}", f"{i}.jpg") for i in range(FILES)]
        for path, pixels in zip(paths, photographs(FILES // 10, *FILE_SIDES).repeat(10, 1, 1, 1), strict=True):
            path.parent.mkdir(exist_ok=True)
            v2.functional.to_pil_image(pixels).save(path, quality=90)
        split = Split(Encoded(paths), torch.arange(FILES) % 10)
        for case, policy in {"crop, flip": None, "crop, flip, RandAugment": "rand-m9-mstd0.5"}.items():
            steps = (RandAugment(2, 27, MEAN),) if policy else ()
            views = MultiView([Chain(ResizedCropFlip(CROP, 0.08), steps)], IMAGENET)
            loader = TrainLoader(split, views, batch_size=50, seed=0, workers=workers)
            theirs = create_loader(
                ImageDataset(folder),
                (3, CROP, CROP),
                50,
                is_training=True,
                color_jitter=0.0,
                auto_augment=policy,
                interpolation="bilinear",
                num_workers=workers,
                persistent_workers=False,
                device=torch.device("cpu"),
                pin_memory=False,
            )
            taken = seconds({"ours": partial(list, loader), "timm": partial(list, theirs)}, 3, 1)
            rate = {name: FILES / time for name, time in taken.items()}
            rows.append(
                {
                    "transform": case,
                    **{f"{k}, images/s": v for k, v in rate.items()},
                    "ours / timm": rate["ours"] / rate["timm"],
                }
            )
    return rows


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on a single thread, and its generator as it was afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)


def measure(device: str = "cpu") -> dict[str, list[Row]]:
    """Tables by title; the large pictures are always made on the CPU."""
    with one_thread():
        title = f"Small pictures, three views of {BATCH} at {SIZE}×{SIZE}, one thread, {device}"
        return {title: small(device), f"JPEG files of {FILE_SIDES[0]}×{FILE_SIDES[1]} to {CROP}×{CROP}, two workers": large()}


if __name__ == "__main__":
    for name, table in measure("cuda" if torch.cuda.is_available() else "cpu").items():
        print(f"\n### {name}\n\n{markdown(table)}")
