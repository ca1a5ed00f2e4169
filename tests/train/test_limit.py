"""A bound on time: the epochs that are planned, what cannot be, and the end that comes when the plan was wrong."""

import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from jsonargparse import Namespace
from train.jobs import SMALL

from tailwise.train import limit, parse
from tailwise.train.engine import build_task
from tailwise.train.prepare import prepare
from tailwise.train.prepared import Prepared
from tailwise.train.recipe import Recipe
from tailwise.train.run import CHECKPOINT, MANIFEST, RECIPE, Run
from tailwise.train.settle import settle
from tailwise.types import TailwiseError

PACE = limit.Pace(step=0.5, steps=10, read=0.004, seen=0.01, looked=0.005, end=0.2, busy=1.0)


def record(minutes: float | None, *words: str) -> Namespace:
    given = [f"--{key}={value}" for key, value in SMALL.items()]
    given += [] if minutes is None else [f"--max_minutes={minutes}"]
    return parse.resolve({}, [*given, *words])


@pytest.fixture(scope="module")
def data() -> Prepared:
    return prepare(parse.build(record(None)).data)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is idle, and as quick as `PACE` says."""
    monkeypatch.setattr(limit, "measure", lambda *_: PACE)


def planned(data: Prepared, minutes: float, *words: str, ago: float = 0.0) -> tuple[Namespace, dict[str, Any]]:
    found, said = limit.plan(record(minutes, *words), data, time.monotonic() - ago)
    assert said is not None
    return found, said


def test_without_a_limit_nothing_is_measured(data: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "measure", lambda *_: pytest.fail("measured"))
    asked = record(None)
    assert limit.plan(asked, data, time.monotonic()) == (asked, None)


@pytest.mark.usefixtures("measured")
def test_the_epochs_that_fit_are_planned(data: Prepared) -> None:
    found, said = planned(data, 10, "--epochs=1000")
    look = limit.SLACK * (PACE.read + PACE.looked) * len(data.checked.labels)
    epoch = limit.SLACK * PACE.step * PACE.steps + PACE.end
    assert abs(found.epochs * (epoch + look) - (600 - said["reserved_seconds"] + look)) <= epoch + look + 0.5
    assert (said["asked_epochs"], said["planned_epochs"], said["planned_steps"]) == (1000, found.epochs, None)
    late, _ = planned(data, 10, "--epochs=1000", ago=300)
    assert late.epochs == pytest.approx(found.epochs - 300 / (epoch + look), abs=1.5)
    seldom, _ = planned(data, 10, "--epochs=1000", "--engine.check_every=50")
    assert found.epochs < seldom.epochs == pytest.approx(found.epochs * (epoch + look) / (epoch + look / 50), abs=1.5)


@pytest.mark.usefixtures("measured")
def test_an_image_is_kept_time_for_as_often_as_it_is_read(data: Prepared) -> None:
    test, train, val = (len(split.labels) for split in (data.test, data.train, data.checked))
    fixed = limit.FIXED + limit.PAGE * test

    def reserve(*words: str, held: Prepared = data) -> float:
        return (float(planned(held, 60, *words)[1]["reserved_seconds"]) - fixed) / limit.SLACK

    whole, look = PACE.seen + PACE.read, PACE.looked + PACE.read
    assert reserve() == pytest.approx((test + train + val) * whole + val * look, abs=0.1)
    assert reserve("--model.head=class_means") - reserve() == pytest.approx(min(train, limit.MEANS) * whole, abs=0.2)
    shared = (test + train) * (PACE.seen + PACE.read / 4) + val * whole + val * (PACE.looked + PACE.read / 4)
    assert reserve("--engine.workers=4") == pytest.approx(shared, abs=0.1)
    watched = replace(data, checked=data.test, checked_name="test")
    assert reserve(held=watched) == pytest.approx((test + train) * whole + test * look, abs=0.1)


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--schedule=Cosine", "--schedule.warmup=100"], {"warmup": 0.1}),
        (
            ["--schedule=Steps", "--schedule.warmup=50", "--schedule.milestones=[800,900]"],
            {"warmup": 0.05, "milestones": [0.8, 0.9]},
        ),
    ],
)
def test_the_schedule_shrinks_with_the_epochs(data: Prepared, words: list[str], expected: dict[str, Any]) -> None:
    found, _ = planned(data, 10, "--epochs=1000", *words)
    for key, share in expected.items():
        torch.testing.assert_close(
            torch.tensor(found.schedule.init_args[key]) / found.epochs, torch.tensor(share), atol=0.01, rtol=0
        )
    parse.build(found)


@pytest.mark.usefixtures("measured")
def test_a_generous_limit_changes_nothing(data: Prepared) -> None:
    found, said = planned(data, 1000, "--epochs=7")
    assert (found.epochs, found.steps, said["planned_epochs"]) == (7, None, 7)


@pytest.mark.usefixtures("measured")
def test_less_than_an_epoch_is_so_many_steps(data: Prepared) -> None:
    _, said = planned(data, 10, "--epochs=1000")
    found, less = planned(data, (said["reserved_seconds"] + 3) / 60, "--epochs=9")
    assert found.epochs == 1
    assert 1 <= found.steps <= 3 / (limit.SLACK * PACE.step)
    assert less["planned_steps"] == found.steps
    parse.build(found)  # is a recipe


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(("spare", "fits"), [(0.1, True), (-0.1, False)])
def test_one_step_and_the_end_of_its_epoch_must_fit(
    data: Prepared, monkeypatch: pytest.MonkeyPatch, spare: float, fits: bool
) -> None:
    _, said = planned(data, 10)
    asked = record((said["reserved_seconds"] + limit.SLACK * PACE.step + PACE.end + spare) / 60)
    monkeypatch.setattr(limit.time, "monotonic", lambda: 0.0)
    if fits:
        assert limit.plan(asked, data, 0.0)[0].steps == 1
    else:
        with pytest.raises(TailwiseError, match="one step"):
            limit.plan(asked, data, 0.0)


@pytest.mark.usefixtures("measured")
def test_what_cannot_be_kept_is_refused_in_one_line(data: Prepared, tmp_path: Path) -> None:
    with pytest.raises(
        TailwiseError, match=r"max_minutes 0\.01: reading the data, one step and judging take about 0\.\d minutes"
    ):
        planned(data, 0.01)
    with pytest.raises(TailwiseError, match="compiling"):
        planned(data, 10, "--engine.compile=true")
    (tmp_path / "own.yaml").write_text("needs: {teacher: digits_lt/teacher}\nmodel: {start_from: '${needs.teacher}'}\n")
    asked = parse.resolve(parse.read(tmp_path / "own.yaml"), ["--max_minutes=5"])
    with pytest.raises(TailwiseError, match="trains another first"):
        limit.plan(asked, data, time.monotonic())


@pytest.mark.parametrize(("image", "helps"), [(0.1, True), (1e-6, False)])
def test_a_refusal_says_what_helps(data: Prepared, monkeypatch: pytest.MonkeyPatch, image: float, helps: bool) -> None:
    monkeypatch.setattr(limit, "measure", lambda *_: PACE._replace(read=image, seen=image, looked=image))
    asked = settle(record(0.01), data)
    with pytest.raises(TailwiseError) as caught:
        limit.plan(asked, data, time.monotonic())
    assert ("a smaller --data.image_size (8 now) or a smaller --model.backbone (resnet8 now)" in str(caught.value)) == helps


def test_what_a_refusal_asks_for_suffices(data: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "measure", lambda *_: PACE)
    with pytest.raises(TailwiseError) as caught:
        planned(data, 0.01)
    asked = float(str(caught.value).split("about ")[1].split()[0])
    assert planned(data, asked)[0].epochs == 1
    with pytest.raises(TailwiseError):
        planned(data, asked - 0.1)


def test_a_busy_machine_gets_more_reserve(data: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    reserves = []
    for busy in (1.0, 5.0):
        monkeypatch.setattr(limit, "measure", lambda *_, busy=busy: PACE._replace(busy=busy))
        reserves.append(planned(data, 60)[1]["reserved_seconds"])
    assert reserves[1] - reserves[0] == pytest.approx(4 * (limit.FIXED + len(data.test.labels) * limit.PAGE), abs=0.2)


def test_a_real_measurement_counts_what_there_is(data: Prepared) -> None:
    recipe = parse.build(settle(record(1), data))
    pace = limit.measure(recipe, data, patience=1)
    assert 0 < pace.read < pace.seen < pace.step < 60
    assert 0 < pace.looked < pace.step
    assert pace.steps == len(data.train.labels) // 32
    assert 1 <= pace.busy <= limit.BUSY
    weights = sum(p.numel() for p in build_task(recipe, data).model.parameters())
    assert pace.end - pace.busy * limit.PER_EPOCH >= 8 * weights / limit.WRITTEN  # the weights and their momentum


@pytest.mark.parametrize(("computed", "busy"), [(0.0, limit.BUSY), (1e3, 1.0)])
def test_a_machine_is_busy_where_computing_waits(
    data: Prepared, monkeypatch: pytest.MonkeyPatch, computed: float, busy: float
) -> None:
    clock = count(step=computed)
    monkeypatch.setattr(limit.time, "thread_time", lambda: float(next(clock)))
    monkeypatch.setattr(limit, "_learn", lambda *_: time.sleep(0.025))
    assert limit.measure(parse.build(settle(record(1), data)), data, patience=0).busy == busy


@pytest.mark.parametrize(("patience", "rounds"), [(0.0, 1), (600.0, limit.STEPS + 1)])
def test_measuring_ends_with_patience(data: Prepared, monkeypatch: pytest.MonkeyPatch, patience: float, rounds: int) -> None:
    sizes = []
    monkeypatch.setattr(limit, "_learn", lambda task, moves, batch, half: sizes.append(len(batch.labels)))
    limit.measure(parse.build(settle(record(1), data)), data, patience)
    assert sizes == [limit.FEW, *[32] * rounds]


def test_the_manifest_says_when_training_must_end(tmp_path: Path) -> None:
    (tmp_path / RECIPE).write_text("")
    run = Run(tmp_path)
    assert limit.until(run, 100.0) == float("inf")
    run.write(MANIFEST, {"time_limit": None})
    assert limit.until(run, 100.0) == float("inf")
    run.write(MANIFEST, {"time_limit": {"minutes": 2, "reserved_seconds": 30}})
    assert limit.until(run, 100.0) == 100 + 120 - 30


def trained(folder: Path, data: Prepared, recipe: Recipe, until: float) -> tuple[dict[str, Any], int]:
    from tailwise.train.trainer import train

    folder.mkdir(exist_ok=True)
    (folder / RECIPE).write_text("")
    spent = train(build_task(recipe, data), Run(folder), recipe, data, until)
    return spent, torch.load(folder / CHECKPOINT, weights_only=True)["global_step"]


def test_a_run_that_is_late_ends_after_a_step_and_stays_ended(tmp_path: Path, data: Prepared) -> None:
    recipe = parse.build(settle(record(1, "--epochs=3"), data))
    spent, steps = trained(tmp_path, data, recipe, until=time.monotonic() - 1)
    assert steps == 1
    assert spent["time_limit"] == {"minutes": 1.0, "cut_off": True}
    assert 0 < spent["epochs"] < 1
    again, steps = trained(tmp_path, data, recipe, until=time.monotonic() + 1000)
    assert steps == 1
    assert again["time_limit"]["cut_off"]


def test_earlier_commands_count(tmp_path: Path, data: Prepared) -> None:
    recipe = parse.build(settle(record(1, "--epochs=2"), data))
    spent, steps = trained(tmp_path, data, recipe, until=time.monotonic() + 1000)
    assert (spent["epochs"], spent["time_limit"]["cut_off"]) == (2, False)
    longer = replace(recipe, epochs=3)
    spent, after = trained(tmp_path, data, longer, until=time.monotonic() + spent["seconds"] / 2)
    assert after == steps  # what is left is spent already
    assert spent["time_limit"]["cut_off"]


def test_so_many_steps_are_the_whole_run_and_the_rate_falls_over_them(tmp_path: Path, data: Prepared) -> None:
    recipe = parse.build(settle(record(None, "--epochs=1", "--steps=4"), data))
    _, steps = trained(tmp_path, data, recipe, until=float("inf"))
    assert steps == 4
    saved = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert saved["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0, abs=1e-6)


def test_steps_belong_to_one_epoch() -> None:
    with pytest.raises(TailwiseError, match="steps are those of the only epoch"):
        parse.build(record(None, "--epochs=2", "--steps=4"))


def test_the_device_is_that_of_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends, "mps", cast(Any, SimpleNamespace(is_available=lambda: True)))
    assert [limit._device(name).type for name in ("auto", "mps", "cpu")] == ["mps", "mps", "cpu"]
