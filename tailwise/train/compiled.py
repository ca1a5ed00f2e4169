"""torch.compile as an option of a run: in every process, for training steps, as long as it works."""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tailwise.models import Network
from tailwise.types import Output

Forward = Callable[[Tensor], Output]


class Compiled(Callback):
    """Compiles the networks of a task, the student's and a teacher's; ``graphs`` also captures CUDA graphs.

    Only training steps are compiled: their shapes are fixed, which CUDA graphs need, while judging has other ones and
    takes a small part of a run. Whenever a compiled call fails, at once for want of a C++ compiler or later because it
    has to compile again, the call is made without, one line says so, and the run goes on without. What fails without
    torch.compile as well is the run's own mistake and is raised as it is. Not caught: a failure in the backward pass, which
    torch compiles when it first runs.
    """

    def __init__(self, mode: Literal[True, "graphs"]) -> None:
        self.graphs = mode == "graphs"
        self.networks: list[Network] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """In each process, since what is compiled cannot be sent to another."""
        options: dict[str, Any] = {"mode": "reduce-overhead", "dynamic": False} if self.graphs else {}
        self.networks = [module for module in pl_module.modules() if isinstance(module, Network)]
        for network in self.networks:
            network.__dict__["forward"] = self._guarded(trainer, network.forward, options)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """What the graphs of the step before gave out may be overwritten from here on."""
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """The networks are what they were."""
        self._undo()

    def _guarded(self, trainer: Trainer, eager: Forward, options: dict[str, Any]) -> Forward:
        """``eager`` outside of training steps and from the first failure on, else compiled."""

        @cache
        def compiled() -> Forward:
            """Made at the first step, because torch.compile itself may refuse, an interpreter too new for it say."""
            made: Forward = torch.compile(eager, **options)
            return made

        def forward(views: Tensor) -> Output:
            if not trainer.training:
                return eager(views)
            try:
                return compiled()(views)
            except Exception as error:  # torch has no one class for what its compilers raise
                reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
            # The error is gone here, and with it what its frames held: memory that this call may need
            out = eager(views)
            self._give_up(trainer, reason)
            return out

        return forward

    def _give_up(self, trainer: Trainer, reason: str) -> None:
        self._undo()
        if trainer.is_global_zero:
            print(f"engine.compile: running without ({reason})", file=sys.stderr)

    def _undo(self) -> None:
        for network in self.networks:
            network.__dict__.pop("forward", None)  # what is left is the class's
        self.networks = []
