"""Keys travel with their labels, and the contrast is that of SupCon over them."""

import pytest
import torch
from tiny import MODELS, Rows, batch
from torch import Tensor

from tailwise.losses.momentum_supcon import MomentumSupCon
from tailwise.losses.supcon import supervised_contrastive
from tailwise.types import IGNORE, Batch

COUNTS = [6, 3, 1]


def step(objective: MomentumSupCon, model: torch.nn.Module, given_batch: Batch) -> Tensor:
    return objective(model(given_batch.views[:2]), given_batch)["con"]


@pytest.mark.parametrize("kind", ["rows", "images"])
def test_each_stored_key_is_the_momentum_encoding_of_an_image_with_its_label(kind: str) -> None:
    torch.manual_seed(0)
    model = MODELS[kind](3)
    objective = MomentumSupCon(COUNTS, model, queue_size=8, momentum=0.5)
    optimizer = torch.optim.SGD([*model.parameters(), *objective.projector.parameters()], 0.5)
    made: dict[int, tuple[int, Tensor]] = {}  # each labelled image's label and its key at the step when it was stored
    for turn in range(5):
        labels = torch.randint(0, 3, (6,), generator=torch.Generator().manual_seed(turn))
        labels[turn % 6] = IGNORE
        given_batch = batch(kind, 3, labels, turn, first=6 * turn)
        keys = objective.key_projector(objective.teacher(given_batch.views).features[2])
        for image, label, key in zip(given_batch.index.tolist(), labels.tolist(), keys, strict=True):
            if label != IGNORE:
                made[image] = label, key
        optimizer.zero_grad()
        step(objective, model, given_batch).backward()
        optimizer.step()
        objective.on_step(model)

        held = objective.queue.read()
        assert sorted(held.index.tolist()) == list(made)[-8:]  # five keys a step: the ring wraps within the second
        for row, label, image in zip(held.keys, held.labels.tolist(), held.index.tolist(), strict=True):
            assert label == made[image][0]
            torch.testing.assert_close(row, made[image][1])
    spread = torch.stack([key for _, key in made.values()]).std(0).sum()
    assert spread > 0.1  # keys differ, so a wrong one would be seen


def test_positives_are_all_keys_of_the_class_and_none_is_left_out() -> None:
    torch.manual_seed(0)
    model = Rows(3)
    objective = MomentumSupCon(COUNTS, model, queue_size=16, temperature=0.2, contrast_weight=0.5)
    step(objective, model, batch("rows", 3, torch.tensor([0, 0, 1, 2])))
    given_batch = batch("rows", 3, torch.tensor([2, 0, IGNORE, 1]), 1, first=2)
    objective.eval()
    held, kept = objective.queue.read(), torch.tensor([0, 1, 3])
    fresh = objective.key_projector(objective.teacher(given_batch.views[2:]).features[0])
    queries, labels = objective.projector(model(given_batch.views[:2]).features[1, kept]), given_batch.labels[kept]
    expected = supervised_contrastive(
        queries, labels, torch.cat([fresh[kept], held.keys]), torch.cat([labels, held.labels]), torch.full((3,), -1), 0.2
    )
    torch.testing.assert_close(step(objective, model, given_batch), 0.5 * expected.mean())


def test_defaults() -> None:
    objective = MomentumSupCon(COUNTS, Rows(3))
    assert (objective.temperature, objective.teacher.momentum, len(objective.queue.rows)) == (0.07, 0.999, 1024)
