"""Where the logits of a long job are kept until its output is written: a killed job goes on from there."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from tailwise.files import write_whole
from tailwise.types import TailwiseError

HEAD, LOGITS, PROBLEMS = "job.json", "logits.f32", "problems.jsonl"


class Store:
    """Logits (N, C) float32 of N images in their order, in a file that grows; NaN for one that could not be read.

    ``job`` identifies the images and the model: a folder that was begun for another one is refused with `TailwiseError`. A row
    counts once all of it is on the disk, and the rows that are left after a kill are cut to whole batches, so that the batches
    that follow are those of a job that was not killed.
    """

    def __init__(self, folder: Path, job: str, classes: int, batch: int) -> None:
        self.folder, self.classes = folder, classes
        head = folder / HEAD
        if not head.is_file():
            write_whole(head, json.dumps({"job": job}).encode())
        elif _job(head) != job:
            raise TailwiseError(
                f"{folder}: was begun for other images, another model or batch size; repeat that command, delete the folder, "
                "or give another --out"
            )
        rows = (folder / LOGITS).stat().st_size // (4 * classes) if (folder / LOGITS).is_file() else 0
        self.done = rows // batch * batch
        """Images whose rows are there."""
        with (folder / LOGITS).open("ab") as file:
            file.truncate(4 * classes * self.done)

    def append(self, logits: Tensor, problems: Mapping[int, str]) -> None:
        """The next rows (n, C), and what is wrong with images whose rows are NaN, by their number."""
        try:
            with (self.folder / PROBLEMS).open("a", encoding="utf-8") as file:  # first: a row without reason would be lost
                file.writelines(json.dumps([i, problem]) + "\n" for i, problem in problems.items())
            with (self.folder / LOGITS).open("ab") as rows:
                rows.write(logits.float().contiguous().numpy().tobytes())
                rows.flush()
                os.fsync(rows.fileno())
        except OSError as error:
            raise TailwiseError(
                f"{self.folder}: could not be written ({error.strerror or error}); free some space and repeat the command, "
                "which goes on from here"
            ) from error
        self.done += len(logits)

    def logits(self) -> Tensor:
        """(N, C) float32 of all rows, on the disk: only what is looked at comes into memory."""
        shape = self.done * self.classes
        return torch.from_file(str(self.folder / LOGITS), shared=False, size=shape).view(-1, self.classes)

    def problems(self) -> dict[int, str]:
        """What is wrong with the images whose rows are NaN, by their number."""
        found: dict[int, str] = {}
        lost = self.logits()[:, 0].isnan()
        for line in (self.folder / PROBLEMS).read_text(encoding="utf-8").splitlines():
            try:
                i, problem = json.loads(line)
            except ValueError:  # cut off by a kill; its rows are, too
                continue
            if lost[i]:  # else a kill cut off its row, and it could be read the second time
                found[i] = problem
        return found

    def remove(self) -> None:
        """Delete the files, once the output is written."""
        for name in (HEAD, LOGITS, PROBLEMS):
            (self.folder / name).unlink(missing_ok=True)


def _job(head: Path) -> str:
    try:
        return str(json.loads(head.read_text(encoding="utf-8"))["job"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TailwiseError(f"{head}: cannot be read ({error}); delete its folder, or give another --out") from error
