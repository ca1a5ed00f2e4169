"""The door to Hugging Face: what its Trainer optimises, saves and resumes, and what it is told."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import FEATURES, Rows
from torch import nn
from torch.utils.data import Dataset

from tailwise.losses import GML, CrossEntropy, Objective
from tailwise.models import Network
from tailwise.task import Task
from tailwise.types import IGNORE, Batch, Output, TailwiseError

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from tailwise.integrations.huggingface import TaskHooks, TrainerTask, TransformersModel, shot_metrics  # noqa: E402

COUNTS = [12, 8, 4]
LABELS = torch.arange(3).repeat_interleave(torch.tensor(COUNTS))


class Data(Dataset[dict[str, Any]]):
    """Feature rows around the mean of their class, three views of each."""

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, i: int) -> dict[str, Any]:
        noise = torch.randn(3, FEATURES, generator=torch.Generator().manual_seed(i))
        return {"views": nn.functional.one_hot(LABELS[i], FEATURES) + 0.3 * noise, "labels": int(LABELS[i]), "index": i}


class Recording(CrossEntropy):
    """Writes down what it is told."""

    def __init__(self, counts: Any, model: Any) -> None:
        super().__init__(counts, model)
        self.told: list[Any] = []

    def on_epoch(self, epoch: int, epochs: int) -> None:
        self.told.append((epoch, epochs))

    def on_step(self, model: nn.Module) -> None:
        self.told.append("step")


class Images(Data):
    """Samples as an image processor makes them: one view, no number."""

    def __getitem__(self, i: int) -> dict[str, Any]:
        sample = super().__getitem__(i)
        return {"pixel_values": sample["views"][0], "labels": sample["labels"]}


def trainer(
    folder: Path,
    objective: type[Objective] = GML,
    data: Dataset[dict[str, Any]] | None = None,
    callbacks: Sequence[Any] = (TaskHooks,),
    bare: bool = False,
    **arguments: Any,
) -> Any:
    torch.manual_seed(0)
    model = Rows(3)
    options = {"queue_size": 16} if objective is GML else {}
    task = Task(model, objective(COUNTS, model, **options))
    data = data or Data()
    given = {
        "output_dir": str(folder), "num_train_epochs": 3, "per_device_train_batch_size": 8, "learning_rate": 0.05,
        "use_cpu": True, "report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no", "seed": 3,
    }  # fmt: skip
    return transformers.Trainer(
        model=task if bare else TrainerTask(task),
        args=transformers.TrainingArguments(**{**given, **arguments}),
        train_dataset=data,
        eval_dataset=data,
        compute_metrics=shot_metrics(COUNTS),
        callbacks=[made() for made in callbacks],
    )


def state(door: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in door.model.state_dict().items()}


def test_heads_are_optimised_and_the_queue_is_in_the_checkpoint(tmp_path: Path) -> None:
    door = trainer(tmp_path, save_strategy="epoch")
    before = state(door)
    door.train()
    after = state(door)
    trained = [name for name, p in door.model.named_parameters() if p.requires_grad]
    assert any("objective.query_head" in name for name in trained)
    assert "task.objective.log_temperature" in trained
    assert {id(p) for group in door.optimizer.param_groups for p in group["params"]} == {
        id(p) for p in door.model.parameters() if p.requires_grad
    }
    assert [name for name in trained if torch.equal(before[name], after[name])] == []

    last = tmp_path / "checkpoint-9"
    saved = trainer(tmp_path)
    saved._load_from_checkpoint(str(last))
    restored = state(saved)
    assert restored.keys() == after.keys()
    assert [name for name in after if not torch.equal(after[name], restored[name])] == []
    assert saved.model.task.objective.queue.read().filled.sum() > 0
    assert trainer(tmp_path).model.task.objective.queue.read().filled.sum() == 0


def test_a_resume_is_the_uninterrupted_run(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", save_strategy="steps", save_steps=4)
    whole.train()
    resumed = trainer(tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))  # inside the second epoch
    differ = [name for name, value in state(whole).items() if not torch.equal(value, state(resumed)[name])]
    assert differ == []


def test_the_objective_is_told_of_epochs_and_steps(tmp_path: Path) -> None:
    door = trainer(tmp_path / "a", Recording, num_train_epochs=2, save_strategy="steps", save_steps=4)
    door.train()
    steps = ["step"] * 3
    assert door.model.task.objective.told == [(0, 2), (0, 2), *steps, (1, 2), *steps]
    resumed = trainer(tmp_path / "b", Recording, num_train_epochs=2)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-4"))
    assert resumed.model.task.objective.told == [(1, 2), (1, 2), *steps[1:]]


def test_figures(tmp_path: Path) -> None:
    figures = trainer(tmp_path).evaluate()
    logits = np.eye(3)[[0, 0, 1, 1, 2]] * 5
    answers = transformers.EvalPrediction(predictions=logits, label_ids=np.array([0, 0, 0, 1, IGNORE]))
    assert shot_metrics([200, 50, 50])(answers) == pytest.approx(
        {"overall": 3 / 4, "balanced": 5 / 6, "many": 2 / 3, "medium": 1.0}
    )
    assert {"eval_loss", "eval_balanced", "eval_few"} <= figures.keys()
    assert "eval_many" not in figures


def test_terms_in_training_and_logits_in_judging() -> None:
    model = Rows(3)
    door, views = TrainerTask(Task(model, CrossEntropy(COUNTS, model))), torch.randn(4, 1, FEATURES)
    labels, index = torch.tensor([0, 1, 2, IGNORE]), torch.arange(4)
    door.on_epoch(0, 1)
    found = door(views, labels, index)
    terms = door.task(Batch(views.transpose(0, 1), labels, index, index))
    assert found["loss"].requires_grad
    torch.testing.assert_close(found["loss"], terms["cls"])
    torch.testing.assert_close(found["cls"], terms["cls"].detach())
    door.eval()
    judged = door(views, labels)
    assert torch.equal(judged["logits"], model(views.transpose(0, 1)).logits[0])
    torch.testing.assert_close(judged["loss"], nn.functional.cross_entropy(judged["logits"][:3], labels[:3]))
    assert door(views).keys() == {"logits"}
    assert torch.equal(door(pixel_values=views[:, 0])["logits"], judged["logits"])
    torch.testing.assert_close(door.train()(pixel_values=views[:, 0], labels=labels)["loss"], terms["cls"])
    with pytest.raises(TailwiseError, match="a training sample needs labels"):
        door(views)
    with pytest.raises(TailwiseError, match=r"needs views \(V, \*X\) or pixel_values"):
        door(labels=labels)


def test_samples_of_an_image_processor_are_enough_for_an_objective_of_one_view(tmp_path: Path) -> None:
    door = trainer(tmp_path, CrossEntropy, data=Images(), num_train_epochs=10)
    door.train()
    assert door.evaluate()["eval_balanced"] > 0.9
    with pytest.raises(TailwiseError, match="GML has a queue: a training sample needs index, its number in the data"):
        trainer(tmp_path, GML, data=Images()).train()


def test_a_trainer_without_the_hooks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match=r"Trainer needs callbacks=\[TaskHooks\(\)\]$"):
        trainer(tmp_path, callbacks=()).train()
    late = trainer(tmp_path, callbacks=())
    late.add_callback(TaskHooks())
    late.train()


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"bare": True}, r"the model is a Task; give Trainer model=TrainerTask\(Task\(model, objective\)\)"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor would replace the objective's loss; leave it at 0"),
    ],
    ids=["a bare task", "label smoothing"],
)
def test_what_the_trainer_cannot_do_is_one_line_before_training(mistake: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match=said):
        trainer(tmp_path, **mistake)


def test_without_transformers_the_line_says_what_to_install() -> None:
    script = "import sys; sys.modules['transformers'] = None; import tailwise.integrations.huggingface"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].endswith("run pip install 'tailwise[huggingface]'")


def test_a_network_of_ours_can_be_saved(tmp_path: Path) -> None:
    model = Network("resnet8", 3)
    door = TrainerTask(Task(model, CrossEntropy(COUNTS, model)))
    assert all(value.is_contiguous() for value in door.state_dict().values())  # else safetensors refuses it


SMALL: dict[str, dict[str, Any]] = {
    "ViT": dict.fromkeys(("hidden_size", "intermediate_size", "image_size"), 8)
    | {"patch_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2},
    "ResNet": {"embedding_size": 8, "hidden_sizes": [8], "depths": [1]},
}


@pytest.mark.parametrize("kind", SMALL)
def test_a_classifier_of_transformers(kind: str) -> None:
    config = getattr(transformers, f"{kind}Config")(num_labels=3, **SMALL[kind])
    model = TransformersModel(getattr(transformers, f"{kind}ForImageClassification")(config)).eval()
    assert (model.dim, model.classes) == (8, 3)
    views = torch.randn(2, 4, 3, 8, 8)
    out: Output = model(views)
    assert out.features.shape == (2, 4, 8)
    layer = model.network.get_submodule(model.head)
    torch.testing.assert_close(layer(out.features), out.logits)
    assert out.classifier is layer.weight
    torch.testing.assert_close(out.logits[1], model.network(views[1]).logits)
    with pytest.raises(TailwiseError, match="no linear layer of 3 outputs"):
        TransformersModel(getattr(transformers, f"{kind}Model")(config))
