"""GML under Hugging Face's Trainer: its heads are optimised, its queue is in the checkpoint. On long-tailed digits."""

from pathlib import Path
from typing import Any

import torch
from digits import PER_CLASS, Views, load, options
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

import tailwise
from tailwise.integrations.huggingface import TaskHooks, TrainerTask, TransformersModel, shot_metrics

EPOCHS = 15


def build() -> TrainerTask:
    """A ResNet with random weights; `ResNetForImageClassification.from_pretrained(...)` would be one of the hub."""
    config = ResNetConfig(
        num_channels=1, embedding_size=32, hidden_sizes=[32, 64], depths=[1, 1], layer_type="basic", num_labels=10
    )
    model = TransformersModel(ResNetForImageClassification(config))
    return TrainerTask(tailwise.Task(model, tailwise.GML(PER_CLASS, model, queue_size=256)))


def main(folder: Path, epochs: int = EPOCHS, resume: Path | None = None) -> tuple[Trainer, dict[str, Any]]:
    """Trains, or goes on from a checkpoint; returns the trainer and what it found on the test images."""
    torch.manual_seed(0)
    images, labels, test_images, test_labels = load()
    task = build()
    arguments = TrainingArguments(
        output_dir=str(folder), num_train_epochs=epochs, per_device_train_batch_size=32, learning_rate=3e-3,
        lr_scheduler_type="cosine", warmup_steps=20, save_strategy="epoch", save_total_limit=2, eval_strategy="no",
        report_to=[], use_cpu=not torch.cuda.is_available(), dataloader_drop_last=True, disable_tqdm=True,
        logging_strategy="no", ddp_broadcast_buffers=False,
    )  # fmt: skip
    trainer = Trainer(
        model=task,
        args=arguments,
        train_dataset=Views(images, labels, task.task.objective.views),
        eval_dataset=Views(test_images, test_labels),
        compute_metrics=shot_metrics(PER_CLASS),
        callbacks=[TaskHooks()],
    )
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    figures = trainer.evaluate()
    print({name: round(figures[f"eval_{name}"], 3) for name in ("overall", "balanced", "many", "medium", "few")})
    return trainer, figures


if __name__ == "__main__":
    given = options(EPOCHS, out="runs/huggingface")
    main(given.out, given.epochs)
