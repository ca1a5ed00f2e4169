import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tailwise import rng
from tailwise.data import Encoded, Split, Stacked
from tailwise.data.loader import EvalLoader, TrainLoader
from tailwise.data.samplers import ClassBalanced, ProgressivelyBalanced, Sampler
from tailwise.data.views import HALF, multi_view
from tailwise.types import IGNORE, Batch, TailwiseError

N = 23


def _split(n: int = N) -> Split:
    pixels = torch.arange(n * 3 * 8 * 8).view(n, 3, 8, 8).remainder(251).to(torch.uint8)
    return Split(Stacked(pixels), torch.arange(n) % 4)


VIEWS = multi_view(["crop_flip", "simaugment"], 8, HALF)


def _train(n: int = N, batch_size: int = 4, seed: int = 0, **more: int) -> TrainLoader:
    return TrainLoader(_split(n), VIEWS, batch_size=batch_size, seed=seed, **more)


SKEWED = torch.tensor([0] * 26 + [1] * 5 + [3])
"""32 labels: one image of class 3, none of class 2."""


def _skewed(batch_size: int, sampler: Sampler | None = None, epochs: int = 4, **more: int) -> TrainLoader:
    split = Split(_split(len(SKEWED)).images, SKEWED)
    return TrainLoader(split, VIEWS, batch_size=batch_size, seed=1, sampler=sampler or ClassBalanced(), epochs=epochs, **more)


def _equal(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def _index(batches: list[Batch]) -> Tensor:
    return torch.cat([batch.index for batch in batches])


def test_a_batch_is_what_its_index_and_key_say() -> None:
    split, loader = _split(), _train()
    for batch in loader:
        assert torch.equal(batch.labels, split.labels[batch.index])
        assert torch.equal(batch.views, VIEWS.of(split.images, batch.index, batch.key))
        assert batch.views.shape == (2, 4, 3, 8, 8)


def test_an_epoch_draws_each_sample_at_most_once_and_drops_the_rest() -> None:
    loader = _train()
    assert len(loader) == 5
    seen = _index(list(loader))
    assert seen.numel() == seen.unique().numel() == 20


def test_epochs_differ_and_reach_every_sample() -> None:
    loader = _train()
    first, second = _index(list(loader)), _index(list(loader))
    assert not torch.equal(first, second)
    assert torch.cat([first, second, *(_index(list(loader)) for _ in range(3))]).unique().numel() == N


def test_keys_never_repeat() -> None:
    loader = _train()
    keys = torch.cat([loader.batch(step).key for step in range(50)])
    assert keys.unique().numel() == keys.numel()
    assert not torch.equal(loader.batch(0).key, _train(seed=1).batch(0).key)


def test_batch_k_follows_from_k_alone() -> None:
    loader = _train()
    in_order = [*loader, *loader, *loader]
    for step in (14, 0, 7, 6, 13):
        assert _equal(_train().batch(step), in_order[step])
        assert _equal(loader.batch(step), in_order[step])


@pytest.mark.parametrize("step", [0, 3, 4, 5, 12])
def test_seeking_continues_the_uninterrupted_run(step: int) -> None:
    loader, resumed = _train(), _train()
    in_order = [*loader, *loader, *loader]
    resumed.load_state_dict({"step": step})
    rest = [*resumed]
    assert len(rest) == 5 - step % 5
    rest += [*resumed]
    assert all(_equal(a, b) for a, b in zip(rest, in_order[step:], strict=False))


def test_state_counts_the_batches_handed_out() -> None:
    loader = _train()
    batches = iter(loader)
    next(batches)
    next(batches)
    assert loader.state_dict() == {"step": 2}


@pytest.mark.parametrize("n", [N, 24, 7, 5])
def test_two_ranks_share_what_one_process_sees(n: int) -> None:
    one = [*_train(n, batch_size=6)]
    ranks = [[*_train(n, batch_size=3, rank=rank, world=2)] for rank in (0, 1)]
    assert len(one) == len(ranks[0]) == len(ranks[1])
    for whole, left, right in zip(one, *ranks, strict=True):
        drawn = left.index.numel() + right.index.numel()
        assert drawn == (6 if n >= 6 else n // 2 * 2)
        joint = Batch(
            torch.cat([left.views, right.views], 1), *(torch.cat(pair) for pair in zip(left[1:], right[1:], strict=True))
        )
        assert _equal(joint, Batch(whole.views[:, :drawn], *(field[:drawn] for field in whole[1:])))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core
def test_the_number_of_workers_changes_nothing() -> None:
    loaders = [_train(workers=workers) for workers in (0, 2)]
    for loader in loaders:
        loader.seek(3)
    before = torch.random.get_rng_state()
    here, there = ([*loader, *loader] for loader in loaders)
    assert len(here) == len(there) == 7
    assert all(_equal(a, b) for a, b in zip(here, there, strict=True))
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_default_order_and_keys_are_functions_of_seed_and_epoch() -> None:
    """Runs of earlier versions continue as they began."""
    loader, every = _train(seed=3), torch.arange(N)
    for epoch in (0, 2):
        order = torch.argsort(rng.uniform(3, epoch, 0, every), stable=True)
        batches = [loader.batch(epoch * 5 + number) for number in range(5)]
        assert torch.equal(_index(batches), order[:20])
        assert torch.equal(torch.cat([batch.key for batch in batches]), rng.mix(3, epoch, 1, every[:20]))


@pytest.mark.parametrize("sampler", [ClassBalanced(), ProgressivelyBalanced()])
def test_a_sampler_decides_what_each_epoch_shows(sampler: Sampler) -> None:
    loader = _skewed(4, sampler)
    for epoch in range(5):  # one more than the run has
        assert torch.equal(_index(list(loader)), sampler(SKEWED, 4, 1, epoch, 4))


@pytest.mark.parametrize("sampler", [ClassBalanced(), ProgressivelyBalanced()])
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_together_see_what_one_process_sees(world: int, sampler: Sampler) -> None:
    loaders = [_skewed(8 // world, sampler, rank=rank, world=world) for rank in range(world)]
    ranks = [[*loader, *loader] for loader in loaders]
    whole = _skewed(8, sampler)
    one = [*whole, *whole]
    assert _index(one).sort().values.tolist() == torch.cat([_index(rank) for rank in ranks]).sort().values.tolist()
    for batch, *shares in zip(one, *ranks, strict=True):
        views = torch.cat([share.views for share in shares], 1)
        rest = (torch.cat(field) for field in list(zip(*shares, strict=True))[1:])
        assert _equal(Batch(views, *rest), batch)


def test_a_sample_drawn_twice_is_augmented_twice() -> None:
    loader = _skewed(32)
    (batch,) = loader
    assert batch.key.unique().numel() == 32
    rare = batch.views[0][batch.labels == 3]  # crop_flip of the one image of its class
    assert len(rare) == 10  # 32 draws for three classes: 11, 11, 10
    assert rare.flatten(1).unique(dim=0).shape[0] >= 8
    same = VIEWS.of(loader.split.images, batch.index, torch.zeros_like(batch.key))[0][batch.labels == 3]
    assert same.flatten(1).unique(dim=0).shape[0] == 1


@pytest.mark.parametrize("step", [3, 8, 13])
def test_seeking_continues_an_epoch_of_any_sampler(step: int) -> None:
    loader, resumed = (_skewed(4, ProgressivelyBalanced()) for _ in range(2))
    in_order = [*loader, *loader]
    resumed.seek(step)
    rest = [*resumed]
    assert len(rest) == 8 - step % 8
    assert all(_equal(a, b) for a, b in zip(rest, in_order[step:], strict=False))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core
def test_workers_draw_from_the_same_sampler() -> None:
    here, there = (
        _skewed(4, ProgressivelyBalanced()),
        pickle.loads(pickle.dumps(_skewed(4, ProgressivelyBalanced(), workers=2))),
    )
    for loader in (here, there):
        loader.seek(14)
    batches = [*here, *here], [*there, *there]
    assert len(batches[0]) == len(batches[1]) == 10
    assert all(_equal(a, b) for a, b in zip(*batches, strict=True))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_sampler_refuses_labels_without_a_class_in_one_line(workers: int) -> None:
    labels = torch.where(SKEWED == 3, IGNORE, SKEWED)
    split = Split(_split(32).images, labels)
    assert torch.equal(next(iter(TrainLoader(split, VIEWS, batch_size=32, seed=0))).labels.sort().values, labels.sort().values)
    with pytest.raises(TailwiseError, match=r"^sampler ClassBalanced: sample 31 has label -100[^\n]*$"):
        list(TrainLoader(split, VIEWS, batch_size=4, seed=0, sampler=ClassBalanced(), workers=workers))


@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_sees_all_samples_in_order(workers: int) -> None:
    split = _split()
    loader = EvalLoader(split, multi_view(["plain"], 8, HALF), batch_size=10, workers=workers)
    batches = list(loader)
    assert [len(batch.index) for batch in batches] == [10, 10, 3]
    assert len(loader) == 3
    assert torch.equal(_index(batches), torch.arange(N))
    assert torch.equal(torch.cat([batch.labels for batch in batches]), split.labels)
    assert not torch.cat([batch.key for batch in batches]).any()
    assert all(_equal(a, b) for a, b in zip(batches, loader, strict=True))


@pytest.mark.parametrize("samples", [7, 4, 3, 1])
def test_evaluation_over_processes_counts_every_sample_once(samples: int) -> None:
    loaders = [EvalLoader(_split(samples), VIEWS, batch_size=2, rank=rank, world=4) for rank in range(4)]
    seen = [_index(loader) for loader in loaders]
    assert sorted(torch.cat([index[index >= 0] for index in seen]).tolist()) == list(range(samples))
    assert all(len(loader) == len(list(loader)) >= 1 for loader in loaders)  # with none a process would wait for no other
    assert [index.tolist() for index in seen[samples:]] == [[-1]] * (4 - min(samples, 4))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_vanishes_is_one_clear_line(tmp_path: Path, workers: int) -> None:
    split = Split(Encoded([tmp_path / "gone.png"]), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(TailwiseError, match=r"gone.png: cannot be read") as caught:
        list(EvalLoader(split, VIEWS, batch_size=1, workers=workers))
    assert "\n" not in str(caught.value)


def test_what_cannot_be_loaded_is_refused() -> None:
    with pytest.raises(TailwiseError, match="batch size"):
        _train(batch_size=0)
    with pytest.raises(TailwiseError, match="epochs: must be at least 1, got 0"):
        _skewed(4, epochs=0)
    with pytest.raises(TailwiseError, match="3 samples cannot feed 4 processes"):
        _train(3, world=4)
    with pytest.raises(TailwiseError, match="batch size"):
        EvalLoader(_split(), VIEWS, batch_size=0)
