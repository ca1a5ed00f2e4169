"""The checkpoint of a run: written whole or not at all, and looked at before it is continued."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.io import TorchCheckpointIO

from tailwise.files import go_on, write_whole
from tailwise.types import TailwiseError


class Whole(TorchCheckpointIO):
    """Replaces the old checkpoint in one move inside its own folder.

    Lightning moves it there from the system's temporary folder; between two disks that is a copy, which a full disk
    leaves half done in place of the last good checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """See the class; raises `TailwiseError`."""
        packed = io.BytesIO()
        torch.save(checkpoint, packed)
        write_whole(Path(path), packed.getvalue(), go_on(Path(path).parent))


def check(path: Path, learner: LightningModule) -> None:
    """Refuse, with `TailwiseError`, a file that is no checkpoint, or one of another model or objective."""
    try:
        learner.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
    except Exception as error:  # torch.load raises anything on damaged files
        reason = (str(error).splitlines() or [""])[0][:120]
        raise TailwiseError(
            f"{path}: not a checkpoint of this run ({type(error).__name__}: {reason}); restore it, or start a new run"
        ) from error
