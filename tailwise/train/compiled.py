"""torch.compile as an option of a run: in every process, for training steps, and never a reason to fail."""

import sys
from collections.abc import Callable
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
    takes a small part of a run. When the first compiled call of a network fails, for want of a C++ compiler say, one line
    says so and the run goes on without.
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
        compiled: Forward = torch.compile(eager, **options)
        proven = False

        def forward(views: Tensor) -> Output:
            nonlocal proven
            if not trainer.training:
                return eager(views)
            if proven:
                return compiled(views)
            try:
                out = compiled(views)
            except Exception as error:  # torch has no one class for what its compilers raise
                self._give_up(trainer, error)
                return eager(views)
            proven = True
            return out

        return forward

    def _give_up(self, trainer: Trainer, error: Exception) -> None:
        self._undo()
        if trainer.is_global_zero:
            reason = (str(error).splitlines() or [""])[0][:200]
            print(f"engine.compile: running without ({type(error).__name__}: {reason})", file=sys.stderr)

    def _undo(self) -> None:
        for network in self.networks:
            network.__dict__.pop("forward", None)  # what is left is the class's
        self.networks = []
