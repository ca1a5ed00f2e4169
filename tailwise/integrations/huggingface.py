"""The door to Hugging Face: a `Task` that `transformers.Trainer` trains, saves and resumes.

``Trainer(model=TrainerTask(task), callbacks=[TaskHooks()], compute_metrics=shot_metrics(counts), …)`` is all of it. The
heads of the objective are parameters of what is trained, and its queue is in every checkpoint. On several devices launch
one process for each (torchrun, accelerate launch) and set ``ddp_broadcast_buffers=False``: a queue is a buffer, and
``DataParallel`` or a broadcast would lose what it took in.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

try:
    from transformers.trainer_callback import TrainerCallback
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; run pip install 'tailwise[huggingface]'", name=error.name) from error

from tailwise import metrics, rng
from tailwise.counts import Counts, as_counts
from tailwise.queue import Queue
from tailwise.task import Task
from tailwise.types import IGNORE, Batch, Output, TailwiseError


class TransformersModel(nn.Module):
    """An image classifier of transformers as a `tailwise.Model`: any that ends in a linear layer for its ``num_labels``.

    The features are what this layer reads, its rows the classifier. Raises `TailwiseError` where there is none.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.classes = int(network.config.num_labels)  # type: ignore[union-attr,arg-type]
        linear = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
        heads = [(name, layer) for name, layer in linear if layer.out_features == self.classes]
        if not heads:
            raise TailwiseError(
                f"{type(network).__name__}: no linear layer of {self.classes} outputs; use …ForImageClassification"
            )
        self.network, self.head, self.dim = network, heads[-1][0], heads[-1][1].in_features

    def forward(self, views: Tensor) -> Output:
        """Views (V, B, 3, H, W) in one pass; logits (V, B, C), features (V, B, D)."""
        read: list[Tensor] = []
        head = self.network.get_submodule(self.head)
        hook = head.register_forward_pre_hook(lambda _, given: read.append(given[0]))
        try:
            logits = self.network(views.flatten(0, 1)).logits
        finally:
            hook.remove()
        logits, features = (rows.reshape(*views.shape[:2], -1) for rows in (logits, read[0]))
        return Output(logits, features, head.weight)  # type: ignore[arg-type]


class TrainerTask(nn.Module):
    """A `Task` that takes and returns what `transformers.Trainer` gives and expects; it needs the callback `TaskHooks`.

    A sample of the training data is a dict with ``labels``, its class, and

    - ``views`` (V, *X), the objective's V augmentations of it; or ``pixel_values`` (*X), as image processors make it, for
      an objective of one view;
    - ``index``, its number in the data, for an objective that has a queue.

    Trainer's own collator stacks them. For evaluation one view is enough, and no index. Deployed is
    ``trainer.model.task.model``. Raises `TailwiseError` for samples that lack something, and in training without `TaskHooks`.
    """

    config = None  # Trainer looks at it before any callback can say what is wrong

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task.to(memory_format=torch.contiguous_format)  # safetensors saves nothing else
        self._told = False

    def forward(
        self,
        views: Tensor | None = None,
        labels: Tensor | None = None,
        index: Tensor | None = None,
        pixel_values: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Views (B, V, *X) or one (B, *X), labels (B,), index (B,) to ``loss``, the sum of the objective's terms, and each.

        In eval mode to ``logits`` (B, C) of the first view and, with labels, ``loss``: their plain cross-entropy.
        """
        if views is None and pixel_values is None:
            raise TailwiseError("TrainerTask: a sample needs views (V, *X) or pixel_values (*X)")
        views = pixel_values[None] if views is None else views.transpose(0, 1)  # type: ignore[index]
        if not self.training:
            logits = self.task.model(views[:1]).at_labels()
            loss = {} if labels is None else {"loss": F.cross_entropy(logits.float(), labels, ignore_index=IGNORE)}
            return {**loss, "logits": logits}
        terms = self.task(self._batch(views, labels, index))
        return {"loss": torch.stack(list(terms.values())).sum(), **{name: term.detach() for name, term in terms.items()}}

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """See `Task`."""
        self._told = True
        self.task.on_epoch(epoch, epochs)

    def _batch(self, views: Tensor, labels: Tensor | None, index: Tensor | None) -> Batch:
        objective = self.task.objective
        if not self._told:
            raise TailwiseError("TrainerTask: nobody tells the objective of epochs; Trainer needs callbacks=[TaskHooks()]")
        if labels is None:
            raise TailwiseError("TrainerTask: a training sample needs labels, its class")
        if index is None:
            if any(isinstance(module, Queue) for module in objective.modules()):
                name = type(objective).__name__
                raise TailwiseError(f"{name} has a queue: a training sample needs index, its number in the data")
            index = torch.arange(len(labels), device=labels.device)
        return Batch(views, labels, index, rng.mix(torch.randint(2**62, ()), index))


class TaskHooks(TrainerCallback):  # type: ignore[misc]
    """Tells a `TrainerTask` of epochs and steps: schedules of the objective, a teacher that follows the model.

    Raises `TailwiseError` where the model is none, and for Trainer's label smoothing, which would replace the objective.
    """

    def on_init_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """The mistakes that can be found before training."""
        if not isinstance(given["model"], TrainerTask):
            kind = type(given["model"]).__name__
            raise TailwiseError(f"TaskHooks: the model is a {kind}; give Trainer model=TrainerTask(Task(model, objective))")
        if args.label_smoothing_factor:
            raise TailwiseError("TrainerTask: label_smoothing_factor would replace the objective's loss; leave it at 0")

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """The epoch at which training begins, or goes on: a resume inside an epoch."""
        self.on_init_end(args, state, control, **given)
        self.on_epoch_begin(args, state, control, **given)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Before an epoch."""
        given["model"].on_epoch(int(state.epoch or 0), state.num_train_epochs)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """After the optimizer's step."""
        given["model"].task.on_step()


def shot_metrics(counts: Counts) -> Callable[[Any], dict[str, float]]:
    """For ``compute_metrics``: overall and balanced accuracy, and the recall of many-, medium- and few-shot classes.

    ``counts`` are those of the training data. A group without classes in the data has no figure.
    """
    known = as_counts(counts)

    def figures(answers: Any) -> dict[str, float]:
        predictions = torch.as_tensor(answers.predictions).argmax(-1)
        found = metrics.summary(metrics.tally(predictions, torch.as_tensor(answers.label_ids), known.numel()), known)
        names = ("overall", "balanced", "many", "medium", "few")
        return {name: found[name] for name in names if found[name] is not None}

    return figures
