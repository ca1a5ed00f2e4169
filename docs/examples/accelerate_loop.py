"""KCL, with its momentum encoder and queue, in a loop under Accelerate, cut off and resumed. On long-tailed digits.

`python accelerate_loop.py`, or `accelerate launch accelerate_loop.py` on several devices.
"""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import set_seed
from digits import PER_CLASS, Views, collate, judge, load, options
from lightning_module import Net
from torch.utils.data import DataLoader

import tailwise
from tailwise import losses

EPOCHS = 12


def main(folder: Path, epochs: int = EPOCHS, stop: int | None = None) -> dict[str, Any]:
    """Trains, up to epoch ``stop``; where the folder holds the state of an earlier call, goes on from it."""
    # every process pushes the keys of all into its queue, so that no buffer has to be sent
    ddp = DistributedDataParallelKwargs(broadcast_buffers=False)
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[ddp])
    set_seed(0)
    images, labels, test_images, test_labels = load()
    task = tailwise.Task(model := Net(), losses.KCL(PER_CLASS, model, queue_size=256))
    loader = DataLoader(Views(images, labels, task.objective.views), 32, shuffle=True, drop_last=True, collate_fn=collate)
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    wrapped, optimizer, loader = accelerator.prepare(task, optimizer, loader)
    accelerator.register_for_checkpointing(scheduler)  # it counts the epochs
    if (folder / "state").exists():
        accelerator.load_state(str(folder / "state"))
    first = scheduler.last_epoch
    for epoch in range(first, stop or epochs):
        wrapped.train()
        task.on_epoch(epoch, epochs)
        for batch in loader:
            accelerator.backward(sum(wrapped(batch).values()))  # through what prepare gave: it averages the gradients
            optimizer.step()
            optimizer.zero_grad()
            task.on_step()
        scheduler.step()
        accelerator.save_state(str(folder / "state"))
    figures = judge(model.cpu(), test_images, test_labels, torch.tensor(PER_CLASS))
    held = int(task.objective.queue.read().filled.sum())
    accelerator.print(f"epochs {first} to {stop or epochs}, {held} keys in the queue:", figures)
    return {"first": first, "held": held, **figures}


if __name__ == "__main__":
    given = options(EPOCHS, out="runs/accelerate")
    main(given.out, given.epochs)
