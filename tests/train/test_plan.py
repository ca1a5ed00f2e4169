"""What a bench plans: which runs, in which order and folders, and what it refuses before any of them starts."""

import shutil
from pathlib import Path

import pytest
import yaml

from tailwise.train import parse
from tailwise.train.plan import Cell, expand, plan
from tailwise.train.run import RECIPE
from tailwise.types import TailwiseError

STAGE1 = "data: {imbalance_factor: 5}\nmodel: {backbone: resnet8, classifier: linear}\n"
STAGE2 = 'needs: {first: "NEEDED"}\nmodel: {backbone: resnet8, start_from: "${needs.first}"}\n'


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def second(path: Path, needed: str, more: str = "") -> str:
    return write(path, STAGE2.replace("NEEDED", needed) + more)


def by_row(cells: list[Cell]) -> dict[str, Cell]:
    return {f"{cell.name} {cell.seed}": cell for cell in cells}


def begin(cell: Cell, **changed: object) -> None:
    """A run in the cell's folder, as `fit` leaves it when it is cut off; ``changed`` are keys of its recipe."""
    record = yaml.safe_load(parse.dump(cell.record()))
    settled = {"batch_size": 64, "model": record["model"] | {"backbone": "resnet8", "classifier": "linear"}}
    settled["data"] = record["data"] | {"image_size": 8, "views": ["shift"]}
    write(cell.folder / RECIPE, yaml.safe_dump(record | settled | changed))


def test_patterns_are_shipped_names_globs_and_files_each_once_in_the_order_given(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.yaml", STAGE1)
    again = str(tmp_path / "elsewhere" / ".." / "mine.yaml")
    (tmp_path / "elsewhere").mkdir()
    found = expand(["digits_lt/la", mine, "digits_lt/*", again])
    assert found[:2] == ["digits_lt/la", mine]
    assert sorted(found[2:]) == sorted(name for name in parse.shipped() if name.startswith("digits_lt/") and name != found[0])


def test_a_pattern_that_names_nothing_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match=r"^bench: no recipe 'digits_lt/gmll'; did you mean digits_lt/gml\?$"):
        plan(["digits_lt/ce", "digits_lt/gmll"], [0], tmp_path, ())
    with pytest.raises(TailwiseError, match=r"bench: no recipe .*mine\.yaml'; "):
        expand([str(tmp_path / "mine.yaml")])


def test_a_needed_run_is_planned_once_for_each_seed_before_all_that_need_it(tmp_path: Path) -> None:
    cells, asked = plan(["digits_lt/crt", "digits_lt/lws", "digits_lt/ce"], [0, 1], tmp_path / "out", ("--epochs=3",))
    assert asked == ["digits_lt/crt", "digits_lt/lws", "digits_lt/ce"]
    assert len(cells) == 6
    names = [f"{cell.name} {cell.seed}" for cell in cells]
    assert names.index("digits_lt/ce 1") < min(names.index("digits_lt/crt 1"), names.index("digits_lt/lws 1"))
    crt = by_row(cells)["digits_lt/crt 1"]
    assert crt.needs == (by_row(cells)["digits_lt/ce 1"],)
    assert crt.folder == tmp_path / "out" / "digits_lt" / "crt" / "1"
    record = crt.record()
    assert (record.seed, record.epochs) == (1, 3)
    assert record.needs == {"stage1": str(tmp_path / "out" / "digits_lt" / "ce" / "1")}


def test_a_relative_folder_is_named_whole_so_that_a_resume_elsewhere_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells, _ = plan(["digits_lt/crt"], [0], Path("out"), ())
    assert cells[-1].record().needs == {"stage1": str(tmp_path / "out" / "digits_lt" / "ce" / "0")}


def test_what_is_needed_on_other_data_has_a_row_of_its_own_and_hands_them_on(tmp_path: Path) -> None:
    first = write(tmp_path / "first.yaml", STAGE1)
    middle = second(tmp_path / "middle.yaml", first, "data: {imbalance_factor: 5}\n")
    last = second(tmp_path / "last.yaml", middle, "data: {imbalance_factor: 5, validation: 0.2, views: [plain]}\n")
    cells, asked = plan([last, first], [0], tmp_path / "out", ())
    assert asked == ["last", "first"]
    assert [cell.name for cell in cells] == ["first,validation=0.2", "middle,validation=0.2", "last", "first"]
    assert [cell.record().data.validation for cell in cells] == [0.2, 0.2, 0.2, 0.1]
    assert cells[0].record().data.views in ((), [])  # views belong to the method
    with_slash = write(tmp_path / "counts.txt", "9\n" * 10)
    cells, _ = plan([second(tmp_path / "odd.yaml", first, f"data: {{counts: {with_slash}}}\n")], [0], tmp_path / "out", ())
    assert cells[0].folder.parent.parent == tmp_path / "out"  # whatever a value holds, one folder down
    assert cells[0].record().data.counts == with_slash


def test_a_need_that_is_a_file_is_planned_inside_the_bench(tmp_path: Path) -> None:
    first = write(tmp_path / "deep" / "first.yaml", STAGE1)
    cells, _ = plan([second(tmp_path / "last.yaml", first)], [0], tmp_path / "out", ("--data.imbalance_factor=5",))
    assert [cell.folder for cell in cells] == [tmp_path / "out" / name / "0" for name in ("first", "last")]


def test_a_need_that_is_a_run_is_used_where_it_lies(tmp_path: Path) -> None:
    write(tmp_path / "run" / RECIPE, STAGE1)
    cells, _ = plan([second(tmp_path / "last.yaml", str(tmp_path / "run"))], [0], tmp_path / "out", ())
    assert [cell.name for cell in cells] == ["last"]
    assert cells[0].record().needs == {"first": str(tmp_path / "run")}


def test_of_two_files_that_would_write_to_one_folder_the_second_is_refused(tmp_path: Path) -> None:
    one, two = (write(tmp_path / place / "ce.yaml", STAGE1) for place in "ab")
    cells, asked = plan([one, two], [0, 1], tmp_path / "out", ())
    assert asked == ["ce", two]
    assert [(cell.seed, bool(cell.refused)) for cell in cells] == [(0, False), (0, True), (1, False), (1, True)]
    with pytest.raises(TailwiseError, match=f"^{one} and {two} would write to one folder, {tmp_path / 'out' / 'ce'}; rename"):
        cells[-1].record()
    cells, asked = plan([second(tmp_path / "last.yaml", one), two], [0], tmp_path / "out", ("--data.imbalance_factor=5",))
    assert asked == ["last", two]  # a needed one has the folder first
    assert [bool(cell.refused) for cell in cells] == [False, False, True]


UNUSABLE = {
    "flour: 3": "recipe: no key 'flour'",
    "data: {flour: 3}": "recipe: no key 'data.flour'",
    "objective: torch.nn.Linear": "torch.nn.Linear is no Objective",
    "objective: LogitAdjust": "no objective 'LogitAdjust'; did you mean LogitAdjusted?",
    "objective: {class_path: LogitAdjusted, init_args: {taw: 1}}": "LogitAdjusted has no option 'taw'; did you mean tau?",
    "sampler: CrossEntropy": "no sampler 'CrossEntropy'",
    "sampler: tailwise.losses.CrossEntropy": "tailwise.losses.CrossEntropy is no Sampler",
    "post_hoc: {class_path: tailwise.data.samplers.Shuffled}": "tailwise.data.samplers.Shuffled is no PostHoc",
    "base: nowhere.yaml": "no recipe 'nowhere.yaml'",
    "base: bad.yaml": "its bases form a circle (bad.yaml -> bad.yaml)",
    "epochs: [": "not readable YAML",
    "- epochs": "expected keys and values, got list",
    STAGE2.replace("NEEDED", "runs/nowhere"): "needs first: no run and no recipe 'runs/nowhere'",
    STAGE2.replace("needs: {first", "needs: {other"): "uses ${needs.first} but `needs:` has no 'first'",
    STAGE2.replace("NEEDED", "HERE/bad.yaml"): "needs first: the recipes need one another in a circle (bad -> bad)",
    STAGE2.replace("NEEDED", "HERE/worse.yaml"): "needs first: recipe: no key 'flower'",
}


@pytest.mark.parametrize(("text", "said"), UNUSABLE.items())
def test_a_recipe_that_cannot_be_used_is_refused_in_one_line_and_alone(tmp_path: Path, text: str, said: str) -> None:
    good = write(tmp_path / "good.yaml", STAGE1)
    write(tmp_path / "worse.yaml", "flower: 3")
    bad = write(tmp_path / "bad.yaml", text.replace("HERE", str(tmp_path)))
    cells, asked = plan([bad, good], [0], tmp_path / "out", ())
    assert asked == ["bad", "good"]
    assert [cell.name for cell in cells] == ["bad", "good"]
    cells[1].record()
    with pytest.raises(TailwiseError) as refusal:
        cells[0].record()
    assert said in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_recipes_that_need_one_another_are_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    second(one, str(two))
    second(two, str(one))
    cells, _ = plan([str(one), str(two)], [0], tmp_path / "out", ())
    assert [cell.refused for cell in cells] == [
        "needs first: the recipes need one another in a circle (two -> one -> two)",
        "needs first: the recipes need one another in a circle (one -> two -> one)",
    ]


def test_what_a_run_has_settled_and_how_it_was_computed_make_no_other_run(tmp_path: Path) -> None:
    text = "data: {imbalance_factor: 5}\nobjective: {class_path: GML, init_args: {queue_size: 64}}\n"
    (cell,), _ = plan([write(tmp_path / "mine.yaml", text)], [3], tmp_path / "out", ("--engine.threads=2",))
    begin(cell, engine={"threads": 7, "precision": "bf16-mixed"}, about={"row": "as it was called once"})
    assert cell.begun
    assert not cell.done
    assert cell.difference() is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epochs": 7}, "epochs is 7 there, 30 is asked"),
        ({"seed": 4}, "seed is 4 there, 3 is asked"),
        ({"data": {"imbalance_factor": 5, "largest": 20}}, "data.largest is 20 there, None is asked"),
        ({"data": {"source": "cifar10", "imbalance_factor": 5}}, "data.source is cifar10 there, digits is asked"),
        (
            {"model": {"backbone": "resnet8", "classifier": "linear", "start_from": "runs/a"}},
            "model.start_from is runs/a there, None is asked",
        ),
        ({"objective": {"class_path": "BCL"}}, "objective.class_path is tailwise.BCL there, tailwise.CrossEntropy is asked"),
        ({"objective": {"class_path": "LogitAdjusted", "init_args": {"tau": 2.0}}}, "objective.class_path is "),
        ({"sampler": {"class_path": "SquareRoot"}}, "sampler.class_path is tailwise.data.samplers.SquareRoot there"),
        ({"post_hoc": {"class_path": "LogitAdjustment"}}, "post_hoc.class_path is tailwise.posthoc.LogitAdjustment there"),
    ],
)
def test_another_recipes_run_in_the_folder_is_noticed(tmp_path: Path, changed: dict[str, object], said: str) -> None:
    (cell,), _ = plan([write(tmp_path / "mine.yaml", STAGE1)], [3], tmp_path / "out", ())
    begin(cell, **changed)
    assert (cell.difference() or "").startswith(said)


def test_a_run_with_another_teacher_is_another_run(tmp_path: Path) -> None:
    first, other = (write(tmp_path / f"{name}.yaml", STAGE1) for name in ("first", "other"))
    last = second(tmp_path / "last.yaml", first)
    words = ("--data.imbalance_factor=5",)
    cells, _ = plan([last], [0], tmp_path / "out", words)
    begin(cells[-1])
    assert cells[-1].difference() is None
    shutil.copytree(tmp_path / "out", tmp_path / "moved")
    moved, _ = plan([last], [0], tmp_path / "moved", words)
    assert moved[-1].difference() is None  # wherever the bench lies
    second(tmp_path / "last.yaml", other)
    cells, _ = plan([last], [0], tmp_path / "out", words)
    assert (cells[-1].difference() or "").endswith("first/0'} there, other is asked")


def test_shipped_recipes_agree_with_the_runs_that_they_make(tmp_path: Path) -> None:
    cells, _ = plan(["digits_lt/gml", "digits_lt/ldam_drw", "digits_lt/drops", "digits_lt/lws"], [0], tmp_path, ())
    for cell in cells:
        write(cell.folder / RECIPE, parse.dump(cell.record()))
        assert cell.difference() is None, cell.name


def test_overrides_of_the_epochs_leave_a_recipe_of_none_alone(tmp_path: Path) -> None:
    cells = by_row(plan(["digits_lt/post_hoc_la"], [0], tmp_path, ("--epochs=3", "--optim.lr=0.2"))[0])
    assert cells["digits_lt/post_hoc_la 0"].record().epochs == 0
    assert cells["digits_lt/post_hoc_la 0"].record().optim.lr == 0.2
    assert cells["digits_lt/ce 0"].record().epochs == 3


def test_a_need_is_looked_for_beside_its_recipe_first(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / "stage1.yaml", STAGE1)
    recipe = second(tmp_path / "deep" / "two.yaml", "stage1.yaml")
    cells, _ = plan([recipe], [0], tmp_path / "out", ())
    assert not [cell.refused for cell in cells if cell.refused]
    assert Path(cells[0].recipe) == tmp_path / "deep" / "stage1.yaml"


def test_many_names_are_not_all_listed() -> None:
    with pytest.raises(TailwiseError, match=r"known: .*digits_lt/…") as refused:
        parse.find("zzzzzz")
    assert len(str(refused.value)) < 400
