"""The door to Lightning: hooks, figures, checkpoint and resume under a plain Trainer."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tiny import FEATURES, Rows
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tailwise import metrics
from tailwise.integrations.lightning import TaskModule
from tailwise.losses import GML, CrossEntropy
from tailwise.task import Task
from tailwise.types import Batch

COUNTS = [120, 8, 4]
LABELS = torch.arange(3).repeat_interleave(torch.tensor([8, 8, 8]))


class Data(Dataset[Tensor]):
    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, i: int) -> Tensor:
        noise = torch.randn(3, FEATURES, generator=torch.Generator().manual_seed(i))
        return torch.cat([nn.functional.one_hot(LABELS[i], FEATURES) + noise, torch.full((3, 1), float(i))], dim=1)


def collate(samples: list[Tensor]) -> Batch:
    rows = torch.stack(samples, dim=1)
    index = rows[0, :, -1].long()
    return Batch(rows[..., :-1], LABELS[index], index, index)


class Module(TaskModule):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.told: list[Any] = []
        for name in ("on_epoch", "on_step"):
            setattr(task, name, self.written_down(name, getattr(task, name)))

    def written_down(self, name: str, hook: Any) -> Any:
        def call(*given: Any) -> None:
            self.told.append(given or name)
            hook(*given)

        return call

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.task.parameters(), lr=0.02)


def module(objective: type = GML) -> Module:
    torch.manual_seed(0)
    model = Rows(3)
    options = {"queue_size": 12} if objective is GML else {}
    return Module(Task(model, objective(COUNTS, model, **options)))


def trained(of: Module, epochs: int, **fit: Any) -> lightning.Trainer:
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    loader = DataLoader(Data(), 8, collate_fn=collate)
    trainer.fit(of, loader, DataLoader(Data(), 5, collate_fn=collate), **fit)
    return trainer


pytestmark = pytest.mark.filterwarnings("ignore:.*(many workers|logging interval|in eval mode at the start).*")


def test_hooks_and_terms() -> None:
    ours = module()
    trainer = trained(ours, 2)
    steps = ["on_step"] * 3
    assert ours.told == [(0, 2), (0, 2), *steps, (1, 2), *steps]
    assert {"train_cls", "train_con", "train_temp"} <= trainer.callback_metrics.keys()
    held = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert id(ours.task.objective.log_temperature) in held


def test_validation_figures_are_those_of_the_tally() -> None:
    ours = module(CrossEntropy)
    logged = trained(ours, 1).callback_metrics
    batch = collate([Data()[i] for i in range(len(LABELS))])
    predictions = ours.task.model(batch.views[:1]).at_labels().argmax(-1)
    wanted = metrics.summary(metrics.tally(predictions, LABELS, 3), torch.tensor(COUNTS))
    assert float(logged["val_balanced"]) == pytest.approx(wanted["balanced"])
    assert float(logged["val_many"]) == pytest.approx(wanted["many"])
    assert float(logged["val_few"]) == pytest.approx(wanted["few"])
    assert "val_medium" not in logged  # no such class


def test_a_checkpoint_holds_everything_and_goes_on(tmp_path: Path) -> None:
    first, whole = module(), module()
    trained(first, 1).save_checkpoint(tmp_path / "one.ckpt")
    trained(whole, 2)
    resumed = module()
    trained(resumed, 2, ckpt_path=tmp_path / "one.ckpt", weights_only=True)
    assert resumed.told[-4:] == [(1, 2), "on_step", "on_step", "on_step"]
    wanted = whole.task.state_dict()
    assert any("queue" in name for name in wanted)
    assert [name for name, value in resumed.task.state_dict().items() if not torch.equal(value, wanted[name])] == []
