"""A recipe: everything that decides a run, as frozen dataclasses that YAML and the command line fill in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from tailwise.data.samplers import Sampler, Shuffled
from tailwise.losses import CrossEntropy, Objective
from tailwise.posthoc import PostHoc, Unchanged
from tailwise.train.optim import Cosine, Schedule
from tailwise.types import Model, TailwiseError

MakeObjective = Callable[[Tensor, Model], Objective]
"""An objective with its options set, waiting for class counts (C,) and the model."""

Channels = tuple[float, float, float]
Logger = Literal["csv", "tensorboard", "wandb", "mlflow"]


@dataclass(frozen=True)
class Pixels:
    """How images with masks are read. Says nothing for other data.

    Args:
        ignore: the mask value that stands for no class; by default what the source says, else 255.
        short_side: images are resized so that their short side has so many pixels, in training and in judging, which is done
            at the resolution of the masks; by default they stay as they are.
        scales: training images are resized by a random factor between these two.
        max_share: a training crop is drawn again, up to ten times, while one class has more than this share of its pixels.
        window: side of the square that slides over larger images in judging; by default an image goes through whole.
        flip: judge the mean of an image and its mirror image.
        boundary: tolerance of the boundary F-score as a share of the image's diagonal; by default it is not computed.
    """

    ignore: int | None = None
    short_side: int | None = None
    scales: tuple[float, float] = (0.5, 2.0)
    max_share: float = 0.75
    window: int | None = None
    flip: bool = False
    boundary: float | None = None

    def __post_init__(self) -> None:
        _check("data.pixels", 1, short_side=self.short_side or 1, window=self.window or 1)
        _check("data.pixels", 0, ignore=self.ignore or 0, boundary=self.boundary or 0.0)


@dataclass(frozen=True)
class Data:
    """Which images, and how they are made long-tailed, split and augmented.

    Args:
        source: what `tailwise.data.open_source` takes: digits, cifar10, a folder of class folders, a .csv, images with masks, …
        imbalance_factor: make the training set long-tailed: largest over smallest class, at least 1.
        profile: shape of the long tail: exponential, or a step half-way through the classes.
        largest: images of the largest class; by default as many as the data allow.
        counts: a file with the number of training images per class, instead of a factor.
        allow_empty: let the profile leave classes without any training image.
        subset_seed: which images are kept; 0 gives the subsets of the published CIFAR-LT code.
        validation: share of each class held out of the training set; 0 takes none, and a class of one image is left whole.
            Ignored where the source has a validation split.
        test: share of each class held out for the test where the source has no test split.
        groups: keep never puts images of one group on both sides of a split: those of one group, site or sequence in a .csv,
            or of one folder below the class folders; ignore takes images one by one.
        views: one augmentation per view; the last one serves all further views that the objective needs. By default shift
            for digits, crop_flip up to 64 pixels, resized_crop_flip above, and photometric colours where there are masks.
        image_size: side of the square that the model sees, in pixels; by default the data's own when small, else 224; where
            there are masks, the side of a training crop, by default 512 or the short side.
        normalisation: mean and standard deviation of each channel, [[r, g, b], [r, g, b]] of pixels in [0, 1]; by default what
            pretrained weights were trained with, else CIFAR's for cifar10 and cifar100, 0.5 for digits, and ImageNet's.
        pixels: how images with masks are read.
        strict: refuse the data at the first bad image instead of skipping up to 1 %.
        download: where torchvision's data sets are kept.
    """

    source: str = "digits"
    imbalance_factor: float | None = None
    profile: Literal["exp", "step"] = "exp"
    largest: int | None = None
    counts: str | None = None
    allow_empty: bool = False
    subset_seed: int = 0
    validation: float = 0.1
    test: float = 0.2
    groups: Literal["keep", "ignore"] = "keep"
    views: tuple[str | dict[str, dict[str, Any]], ...] = ()
    image_size: int | None = None
    normalisation: tuple[Channels, Channels] | None = None
    pixels: Pixels = field(default_factory=Pixels)
    strict: bool = False
    download: str = "~/.cache/tailwise"

    def __post_init__(self) -> None:
        _check("data", 1, largest=self.largest or 1, image_size=1 if self.image_size is None else self.image_size)
        _check("data", 0, validation=self.validation)
        if self.normalisation is not None and min(self.normalisation[1]) <= 0:
            raise TailwiseError(f"data.normalisation: standard deviations must be positive, got {list(self.normalisation[1])}")


@dataclass(frozen=True)
class Net:
    """The network that is trained and shipped.

    Args:
        backbone: resnet20, resnet32, resnet56, … for small images, or any model of timm; auto is resnet32 up to 64 pixels,
            resnet50 above. With a decoder, an encoder of timm that has a pyramid of features.
        decoder: what makes a feature for every pixel: upernet, deeplabv3plus, fpn, unet; auto is upernet where the data
            have masks, and none where they have labels.
        width: channels of the decoder's widest layers, a multiple of 64.
        classifier: linear, cosine with scale 30, or scaled: a frozen linear one whose classes learn a scale; auto is what
            the objective is made for.
        experts: how many last stages and classifiers share the early stages of the backbone; their mean is the model.
        weights: none, pretrained, or the path of a checkpoint of the backbone.
        start_from: the folder of a trained run whose network this one starts from, such as ${needs.NAME}.
        reinitialise: none, or classifier: then only the backbone is taken from there.
        freeze: none, or backbone: then it stays as it is, norms included, and only the classifier is trained.
        adapter: none, or lora: then a pretrained vision transformer keeps its weights, and only low-rank terms of its
            attention layers, its norms and the classifier are trained; what is shipped has them merged.
        head: how a cosine classifier starts: random, or class_means of the features of some training images.
    """

    backbone: str = "auto"
    decoder: str = "auto"
    width: int = 256
    classifier: Literal["auto", "linear", "cosine", "scaled"] = "auto"
    experts: int = 1
    weights: str = "none"
    start_from: str | None = None
    reinitialise: Literal["none", "classifier"] = "none"
    freeze: Literal["none", "backbone"] = "none"
    adapter: Literal["none", "lora"] = "none"
    head: Literal["random", "class_means"] = "random"

    def __post_init__(self) -> None:
        _check("model", 1, experts=self.experts)
        if self.adapter != "none" and (self.experts > 1 or self.freeze != "none" or self.start_from is not None):
            raise TailwiseError("recipe: model.adapter goes with one expert, without model.freeze and without model.start_from")


@dataclass(frozen=True)
class Optim:
    """The optimizer.

    Args:
        rule: sgd, with momentum, or adamw.
        lr: peak learning rate.
        momentum: of SGD.
        nesterov: look ahead; of SGD.
        weight_decay: on parameters with two or more axes; biases, norms and temperatures are never decayed.
    """

    rule: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        _check("optim", 0, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        if self.nesterov and self.momentum == 0:
            raise TailwiseError("recipe: optim.nesterov needs a momentum above 0")


@dataclass(frozen=True)
class Engine:
    """How the run is computed; changes speed, not the method.

    Args:
        accelerator: auto, cpu, gpu or mps.
        devices: how many of them on this machine, a process for each; a launcher, such as torchrun or srun, says it itself.
        nodes: machines with as many devices; said by the launcher too.
        precision: auto picks bf16 where the hardware has it, else 32-true.
        compile: true is torch.compile and pays in long runs, graphs also CUDA graphs; where it fails, a run goes on without.
        workers: processes that read and augment images.
        check_every: epochs between two looks at validation.
        save_every: minutes between two checkpoints within an epoch; there is one after each epoch anyway.
        threads: CPU threads; 0 leaves torch's choice.
        progress: auto is a bar on a terminal and lines elsewhere.
        loggers: one or a list: csv for the log as a table, tensorboard, wandb and mlflow; the last two must be installed.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    compile: bool | Literal["graphs"] = False
    workers: int = 0
    check_every: int = 1
    save_every: float = 10.0
    threads: int = 0
    progress: Literal["auto", "bar", "lines", "none"] = "auto"
    loggers: Logger | tuple[Logger, ...] = ("csv", "tensorboard")

    def __post_init__(self) -> None:
        _check("engine", 1, devices=self.devices, nodes=self.nodes, check_every=self.check_every)
        _check("engine", 0, workers=self.workers, threads=self.threads, save_every=self.save_every)


@dataclass(frozen=True)
class Recipe:
    """What to train, on what, and how.

    Args:
        about: paper, table row, claimed number and its source, cost; says nothing to the trainer.
        needs: runs that come first, by name: a recipe to train, or the folder of a finished run.
        objective: what training minimises.
        sampler: which training images an epoch shows, and how often.
        schedule: how the learning rate moves.
        post_hoc: what is done to the trained classifier before it is judged and shipped.
        epochs: passes over the training set; 0 trains nothing and judges what model.start_from and post_hoc make.
        steps: end the only epoch after so many steps, for data too large to be seen once; needs epochs 1.
        max_minutes: bound on the time of the whole run, judging included, over all resumes. As many epochs as fit are planned,
            with the learning rate falling over those; a slower machine than measured ends training on the way.
        batch_size: samples per step and process; by default a sixteenth of the training set, within 32 to 128, less where
            memory is short.
        seed: of the weights, the order and the augmentation.
    """

    about: dict[str, str] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)
    data: Data = field(default_factory=Data)
    model: Net = field(default_factory=Net)
    objective: MakeObjective = CrossEntropy
    sampler: Sampler = field(default_factory=Shuffled)
    optim: Optim = field(default_factory=Optim)
    schedule: Schedule = field(default_factory=Cosine)
    post_hoc: PostHoc = field(default_factory=Unchanged)
    epochs: int = 30
    steps: int | None = None
    max_minutes: float | None = None
    batch_size: int | None = None
    seed: int = 0
    engine: Engine = field(default_factory=Engine)

    def __post_init__(self) -> None:
        _check("", 0, epochs=self.epochs, max_minutes=self.max_minutes or 0.0)
        _check("", 1, **{key: getattr(self, key) for key in ("batch_size", "steps") if getattr(self, key) is not None})
        if self.steps is not None and self.epochs > 1:
            raise TailwiseError(f"recipe: steps are those of the only epoch, got {self.epochs} epochs; set epochs 1")
        if self.epochs == 0 and self.model.start_from is None:
            raise TailwiseError("recipe: epochs 0 trains nothing, so model.start_from must name a trained run")


def _check(section: str, least: int, **values: float) -> None:
    for name, value in values.items():
        if not least <= value < float("inf"):
            key = f"{section}.{name}" if section else name
            raise TailwiseError(f"recipe: {key} must be at least {least} and finite, got {value}")
