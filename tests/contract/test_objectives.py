"""The contract of every `Objective`: a new subclass under `tailwise.losses` is found and held to it without an edit here.

Numbers in the section titles are those of the protocol: sums and processes (1, 4), state (2, 3), shapes and precision (5),
defaults (6), hostile inputs (7).
"""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from contract.processes import RUNS, TOLERANCE, precision, run_name, train_run, work
from contract.subjects import COUNTS, OBJECTIVES, arguments, assert_trained, build, loss_of, some_batch
from tiny import MODELS, batch
from torch import Tensor

import tailwise.losses
from tailwise.losses import CrossEntropy, LogitAdjusted, MultiLabel, Objective, rows
from tailwise.queue import ClassQueue, Queue
from tailwise.task import Task
from tailwise.types import IGNORE, Batch, TailwiseError

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # each forked process runs one thread
every_objective = pytest.mark.parametrize("cls", OBJECTIVES, ids=lambda cls: cls.__name__)
every_kind = pytest.mark.parametrize("kind", MODELS)


def test_every_public_objective_is_found() -> None:
    public = {value for value in vars(tailwise.losses).values() if isinstance(value, type) and issubclass(value, Objective)}
    assert {cls for cls in public - {Objective} if not inspect.isabstract(cls)} <= set(OBJECTIVES)


# (1) and (4): one process with the whole batch, two and four with contiguous shares.


@pytest.fixture(scope="module")
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, list[dict[str, dict[str, Tensor]]]]:
    """World size to what each of its ranks ended with, for the objectives among the selected tests.

    The processes are started once for all of them.
    """
    folder = tmp_path_factory.mktemp("worlds")
    parameters = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = {p["run"][0] if "run" in p else p["cls"] for p in parameters if "run" in p or "cls" in p}
    runs = [run for run in RUNS if run[0] in wanted]
    for world in (2, 4):
        mp.start_processes(work, (world, str(folder), runs), nprocs=world, start_method="fork")
    ends = {w: [torch.load(folder / f"{w}_{r}.pt", weights_only=True) for r in range(w)] for w in (2, 4)}
    return {1: [{run_name(*run): train_run(run) for run in runs}], **ends}


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run_name(*run))
def test_several_processes_train_as_one(trained: dict[int, Any], run: tuple[Any, str, torch.dtype], world: int) -> None:
    name, tolerance = run_name(*run), TOLERANCE[run[2]]
    alone, ranks = trained[1][0][name], [end[name] for end in trained[world]]
    losses = torch.stack([rank["losses"] for rank in ranks]).mean(0)
    torch.testing.assert_close(losses, alone["losses"], rtol=tolerance, atol=tolerance)
    for rank in ranks:
        assert rank.keys() == alone.keys()
        for key, value in rank.items():
            if key != "losses":
                torch.testing.assert_close(value, ranks[0][key], rtol=0, atol=0, msg=lambda m, k=key: f"{k}: {m}")
                torch.testing.assert_close(value, alone[key], rtol=0, atol=tolerance, msg=lambda m, k=key: f"{k}: {m}")


@every_objective
def test_training_moved_something(trained: dict[int, Any], cls: type[Objective]) -> None:
    with precision(torch.float64):
        before = build(cls).state_dict()
    after = trained[1][0][run_name(cls, "rows", torch.float64)]
    moved = {k for k, v in before.items() if k in after and v.is_floating_point() and not torch.equal(v, after[k])}
    assert {"model.backbone.weight", "model.head.weight"} <= moved


# (2) and (3): state.


@every_objective
def test_saved_and_loaded_the_next_loss_is_bit_equal(cls: type[Objective], tmp_path: Path) -> None:
    task = build(cls)
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], 0.05)
    task.on_epoch(0, 9)
    for seed in range(3):
        optimizer.zero_grad()
        loss_of(task, some_batch(cls, seed=seed)).backward()
        optimizer.step()
        task.on_step()
    torch.save(task.state_dict(), tmp_path / "state.pt")
    torch.manual_seed(99)
    model = MODELS["rows"](len(COUNTS))
    again = Task(model, cls(COUNTS, model))
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for mode in (True, False):
        task.train(mode)
        again.train(mode)
        given = some_batch(cls, seed=3)
        expected = task(given)
        for name, term in again(given).items():
            assert torch.equal(term, expected[name]), name


@every_objective
def test_state_moves_only_while_training(cls: type[Objective]) -> None:
    task = build(cls)
    task(some_batch(cls))
    task.eval()
    before = {k: v.clone() for k, v in task.state_dict().items()}
    task(some_batch(cls, seed=1))
    for key, value in task.state_dict().items():
        assert torch.equal(value, before[key]), key
    task.train()
    task(some_batch(cls, seed=1))
    for name, module in task.named_modules():
        if isinstance(module, ClassQueue):
            assert bool((module.pushed != before[f"{name}.pushed"]).any())


@every_objective
def test_hooks_may_be_called_twice(cls: type[Objective]) -> None:
    task = build(cls)
    task.on_epoch(1, 9)
    before = {k: v.clone() for k, v in task.state_dict().items()}
    task.on_epoch(1, 9)
    for key, value in task.state_dict().items():
        assert torch.equal(value, before[key]), key


@every_objective
def test_the_model_is_not_kept(cls: type[Objective]) -> None:
    task = build(cls)
    assert not {id(p) for p in task.objective.parameters()} & {id(p) for p in task.model.parameters()}


# (5) and (6): shapes, precision, defaults.


@every_objective
@every_kind
def test_images_pixels_and_rows(cls: type[Objective], kind: str) -> None:
    task = build(cls, kind)
    for seed in range(2):
        task.zero_grad()
        loss = loss_of(task, some_batch(cls, kind, seed))
        loss.backward()
        assert bool(loss.isfinite())
        assert_trained(task)


@every_objective
@every_kind
def test_half_precision_models_have_single_precision_losses(cls: type[Objective], kind: str) -> None:
    task, plain = build(cls, kind), build(cls, kind)
    for seed in range(2):
        given = some_batch(cls, kind, seed)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            terms = task(given)
        for name, expected in plain(given).items():
            assert terms[name].dtype == torch.float32
            torch.testing.assert_close(terms[name], expected, rtol=0.1, atol=0.05)
        task.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        assert_trained(task)


@every_objective
def test_views_and_prior_are_declared(cls: type[Objective]) -> None:
    objective = build(cls).objective
    assert 1 <= len(objective.student_views) <= objective.views
    assert all(0 <= view < objective.views for view in objective.student_views)
    assert objective.carried_log_prior.shape == (len(COUNTS),)
    assert bool(objective.carried_log_prior.isfinite().all())


@every_objective
def test_defaults_hold_many_classes(cls: type[Objective]) -> None:
    task = build(cls, counts=[1] * 5000)
    assert bool(loss_of(task, some_batch(cls)).isfinite())


@every_objective
def test_counts_of_another_model_are_refused(cls: type[Objective]) -> None:
    with pytest.raises(TailwiseError, match="3 class counts for a model of 4 classes"):
        cls([5, 3, 1], MODELS["rows"](4))


@every_objective
def test_mixed_targets_are_taken_or_refused(cls: type[Objective]) -> None:
    task, mixed = build(cls), batch("rows", cls.views, torch.rand(5, len(COUNTS)).softmax(1))
    if cls in (CrossEntropy, LogitAdjusted) or issubclass(cls, MultiLabel):
        loss = loss_of(task, mixed)
        loss.backward()
        assert bool(loss.isfinite())
        assert_trained(task)
    else:
        with pytest.raises(TailwiseError, match="targets"):
            task(mixed)


# (7): hostile inputs.

HOSTILE = {
    "absent_classes": (COUNTS, [0, 0, 0, 0]),
    "one_image_of_a_class": (COUNTS, [0, 0, 0, 3]),
    "one_image_of_each": (COUNTS, [0, 1, 2, 3]),
    "nobody_labelled": (COUNTS, [IGNORE] * 4),
    "one_labelled": (COUNTS, [IGNORE, 2, IGNORE, IGNORE]),
    "one_sample": (COUNTS, [1]),
    "one_unlabelled_sample": (COUNTS, [IGNORE]),
    "one_class": ([7], [0, 0, 0]),
    "one_class_one_sample": ([7], [0]),
    "extreme_counts": ([10**9, 0, 1, 0], [0, 1, 2, 3]),
}


COLD = [(cls, {"temperature": 0.01}) for cls in OBJECTIVES if "temperature" in arguments(cls)]


@pytest.mark.parametrize(
    ("cls", "options"), [(cls, {}) for cls in OBJECTIVES] + COLD, ids=lambda value: getattr(value, "__name__", str(value))
)
@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_is_infinite_or_undefined(cls: type[Objective], options: dict[str, float], case: str) -> None:
    counts, labels = HOSTILE[case]
    task = build(cls, counts=counts, **options)
    for seed, training in ((0, False), (1, True), (1, True), (1, False)):  # queues empty, then filling, then read only
        task.train(training)
        given = batch("rows", cls.views, torch.tensor(labels), seed)  # the second time, keys are the queries' own
        task.zero_grad()
        loss = loss_of(task, given)
        (2.0**16 * loss).backward()  # as a gradient scaler does
        assert bool(loss.isfinite())
        assert_trained(task)


HOSTILE_MAPS: dict[str, tuple[list[int], list[tuple[int, ...]]]] = {  # the classes of each image, none for an unlabelled one
    "absent_classes": (COUNTS, [(0, 1), (1,), (0,)]),
    "unlabelled_images": (COUNTS, [(), (0, 3), ()]),
    "nobody_labelled": (COUNTS, [(), ()]),
    "one_image_of_one_class": (COUNTS, [(3,)]),
    "one_class": ([7], [(0,), ()]),
}


@every_objective
@pytest.mark.parametrize("case", HOSTILE_MAPS)
def test_nothing_is_infinite_or_undefined_on_pixels(cls: type[Objective], case: str) -> None:
    counts, images = HOSTILE_MAPS[case]
    task = build(cls, "dense", counts)
    labels = torch.full((len(images), 64), IGNORE)
    for image, classes in enumerate(images):
        for turn, label in enumerate(classes):
            labels[image, 5 * turn : 5 * turn + 1 + 30 * (1 - turn)] = (
                label  # thirty-one pixels of the first, one of the second
            )
    given = batch("dense", cls.views, labels.view(-1, 8, 8))
    for epoch, training in ((0, False), (0, True), (1, True), (2, True), (2, False)):  # queues empty, then filling
        task.train(training)
        task.on_epoch(epoch, 3)
        task.zero_grad()
        loss = loss_of(task, given)
        (2.0**16 * loss).backward()
        assert bool(loss.isfinite())
        assert_trained(task)


@every_objective
def test_the_pixels_of_one_image_never_fill_a_ring(cls: type[Objective]) -> None:
    task = build(cls, "dense", **({k: v for k, v in {"queue_size": 12, "queue_floor": 2}.items() if k in arguments(cls)}))
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    labels[1, 2:] = 3
    for seed in range(3):
        task(batch("dense", cls.views, labels, seed))
        for queue in (module for module in task.modules() if isinstance(module, Queue)):
            held = queue.read()
            ring = queue.slots if isinstance(queue, ClassQueue) else torch.full((len(COUNTS),), len(queue.rows))
            of = torch.stack([held.labels * isinstance(queue, ClassQueue), held.index], 1)
            rings, keys = of.unique(dim=0, return_counts=True)
            assert bool((keys <= (ring[rings[:, 0]] // 4).clamp(min=1)).all())


@every_objective
def test_the_loss_of_many_pixels_is_taken_in_chunks(cls: type[Objective], monkeypatch: pytest.MonkeyPatch) -> None:
    given, ends = some_batch(cls, "dense"), []
    for limit in (rows.LIMIT, 40):
        monkeypatch.setattr(rows, "LIMIT", limit)
        with precision(torch.float64):
            task = build(cls, "dense")
            terms = task(given._replace(views=given.views.double()))
            torch.stack(list(terms.values())).sum().backward()
        ends.append((terms, [p.grad for p in task.parameters() if p.requires_grad]))
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-12)


@every_objective
def test_equal_samples_have_finite_gradients(cls: type[Objective]) -> None:
    task, given = build(cls), some_batch(cls)
    for _ in range(2):
        task.zero_grad()
        loss_of(task, given._replace(views=torch.ones_like(given.views))).backward()
        assert_trained(task)


@every_objective
def test_an_unlabelled_sample_changes_nothing(cls: type[Objective]) -> None:
    """In eval mode no statistics are shared, so the terms of a batch are those of its labelled part."""
    task, given = build(cls), some_batch(cls)
    task(given)
    task.eval()
    kept = given.labels != IGNORE
    labelled = Batch(given.views[:, kept], given.labels[kept], given.index[kept], given.key[kept])
    torch.testing.assert_close(task(given), task(labelled))
