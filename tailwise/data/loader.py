"""Loaders: batches as a function of their number alone.

The k-th training batch of a run follows from (seed, k): the epoch's order, each sample's key and so each augmentation.
Resuming is a cursor, ranks take contiguous shares of one global batch, and the number of workers changes nothing.
"""

import signal
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tailwise import rng
from tailwise.data.samplers import KEY, Sampler, Shuffled
from tailwise.data.source import Split
from tailwise.data.views import Views
from tailwise.types import Batch, TailwiseError

_SHUFFLED = Shuffled()


class TrainLoader:
    """Shuffled batches without end, an epoch at a time: each ``iter`` gives the rest of the epoch at the cursor.

    An epoch is N draws from the N samples in the order of ``sampler``, by default a fresh permutation, cut into global
    batches of ``batch_size · world``; rank r takes the r-th contiguous share of each. What does not fill a global batch
    is dropped until the next epoch: ragged shares cannot be gathered, BatchNorm fails on one sample, and a compiled
    model would be compiled again. When N is smaller than one global batch, there is one batch of ⌊N / world⌋ samples a
    rank. A key belongs to a position, so a sample that is drawn twice is augmented twice. ``epochs`` is the length of
    the run, for samplers that change on the way.

    Raises `TailwiseError` when there are fewer samples than ranks, and what ``sampler`` raises when an epoch begins.
    """

    def __init__(
        self,
        split: Split,
        views: Views,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        sampler: Sampler = _SHUFFLED,
        epochs: int = 1,
    ) -> None:
        samples = len(split.labels)
        if batch_size < 1:
            raise TailwiseError(f"batch size: must be at least 1, got {batch_size}")
        if epochs < 1:
            raise TailwiseError(f"epochs: must be at least 1, got {epochs}")
        if samples < world:
            raise TailwiseError(f"training data: {samples} samples cannot feed {world} processes; use fewer processes")
        self.split, self.views, self.seed, self.workers = split, views, seed, workers
        self.rank, self.world, self.sampler, self.epochs = rank, world, sampler, epochs
        self.share = min(batch_size, samples // world)
        self.step = 0
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.split.labels) // (self.share * self.world)

    def batch(self, step: int) -> Batch:
        """This rank's share of the ``step``-th batch of the run, counted from 0 over all epochs."""
        epoch, number = divmod(step, len(self))
        if epoch != self._epoch:
            labels = self.split.labels
            classes = int(labels.max()) + 1  # absent classes above it have no share
            self._epoch, self._order = epoch, self.sampler(labels, classes, self.seed, epoch, self.epochs)
        start = (number * self.world + self.rank) * self.share
        position = torch.arange(start, start + self.share)
        return _batch(self.split, self.views, self._order[position], rng.mix(self.seed, epoch, KEY, position))

    def seek(self, step: int) -> None:
        """Continue at the ``step``-th batch of the run: the next ``iter`` gives the rest of that epoch."""
        self.step = step

    def state_dict(self) -> dict[str, int]:
        """The cursor."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue at a saved cursor."""
        self.seek(state["step"])

    def __iter__(self) -> Iterator[Batch]:
        """The batches from the cursor to the end of its epoch; the cursor counts those handed out."""
        end = (self.step // len(self) + 1) * len(self)
        for batch in _read(self, range(self.step, end), self.workers):
            self.step += 1
            yield batch


class EvalLoader:
    """All samples once, in order, the last batch ragged; every key is 0.

    Of several processes the one of ``rank`` has every ``world``-th sample, and none is padded: a process beyond the last
    sample gets the first one, so that all have a batch, with the index -1, which says that it is not to be counted.
    """

    def __init__(self, split: Split, views: Views, *, batch_size: int, workers: int = 0, rank: int = 0, world: int = 1) -> None:
        if batch_size < 1:
            raise TailwiseError(f"batch size: must be at least 1, got {batch_size}")
        self.split, self.views, self.batch_size, self.workers = split, views, batch_size, workers
        self.mine = torch.arange(len(split.labels))[rank::world]
        self.idle = rank >= len(split.labels) > 0

    def __len__(self) -> int:
        """Batches in all."""
        return max(-(-len(self.mine) // self.batch_size), int(self.idle))

    def batch(self, step: int) -> Batch:
        """The ``step``-th batch."""
        if self.idle:
            first = torch.zeros(1, dtype=torch.int64)
            return _batch(self.split, self.views, first, first)._replace(index=first - 1)
        index = self.mine[step * self.batch_size : (step + 1) * self.batch_size]
        return _batch(self.split, self.views, index, torch.zeros_like(index))

    def __iter__(self) -> Iterator[Batch]:
        """Every batch, from the first."""
        return _read(self, range(len(self)), self.workers)


class _Steps(Dataset[Batch | TailwiseError]):
    """A loader's batches by number, as torch's workers want them.

    An error that the user can mend travels as a value: torch would hand it on as a traceback.
    """

    def __init__(self, loader: TrainLoader | EvalLoader, steps: range) -> None:
        self.loader, self.steps = loader, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, i: int) -> Batch | TailwiseError:
        try:
            return self.loader.batch(self.steps[i])
        except TailwiseError as error:
            return error


def _read(loader: TrainLoader | EvalLoader, steps: range, workers: int) -> Iterator[Batch]:
    """The batches of ``steps`` in order, made here or by workers."""
    if workers == 0:
        yield from map(loader.batch, steps)
        return
    made: Iterable[Batch | TailwiseError] = DataLoader(
        _Steps(loader, steps),
        batch_size=None,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_deaf,
        generator=torch.Generator(),  # else it would draw from the global one, and workers would change the model's dropout
    )
    for batch in made:
        if isinstance(batch, TailwiseError):
            raise batch
        yield batch


def _deaf(worker: int) -> None:
    """A scheduler tells all processes of a job to end; the one that trains takes its step before, for which it needs this."""
    for notice in ("SIGTERM", "SIGUSR1"):
        if hasattr(signal, notice):  # Windows lacks the second
            signal.signal(getattr(signal, notice), signal.SIG_IGN)


def _batch(split: Split, views: Views, index: Tensor, key: Tensor) -> Batch:
    return Batch(*views(split, index, key), index, key)
