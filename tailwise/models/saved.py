"""A trained network on disk: ``model.safetensors`` and ``model.json``, the two files that are shipped."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tailwise.files import go_on, write_whole
from tailwise.models.about import check, check_network
from tailwise.models.experts import network
from tailwise.models.model import Network
from tailwise.types import Output, TailwiseError

WEIGHTS, ABOUT = "model.safetensors", "model.json"


def save(model: Network, folder: Path, about: Mapping[str, Any]) -> None:
    """Write the weights and, beside them, how to rebuild the network (``network``) and whatever ``about`` says.

    ``about`` may hold anything that JSON can, and tensors, which become lists: class names, image size, normalisation,
    the prior that the logits carry. Each file is replaced whole or not at all. Raises `TailwiseError` when it cannot be.
    """
    from safetensors.torch import save as pack

    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    text = json.dumps({"network": model.config, **about}, indent=2, default=_plain, ensure_ascii=False)
    write_whole(folder / WEIGHTS, pack(tensors), go_on(folder))
    write_whole(folder / ABOUT, (text + "\n").encode(), go_on(folder))


class Saved(nn.Module):
    """The network of a run folder, rebuilt without any download; satisfies `tailwise.types.Model`.

    ``about`` is the content of its ``model.json``. Raises `TailwiseError` when the folder does not hold a finished run, or when
    its files say what cannot be (`tailwise.models.about`).
    """

    def __init__(self, run: str | Path) -> None:
        super().__init__()
        from safetensors.torch import load_file

        folder = Path(run)
        for name in (WEIGHTS, ABOUT):
            if not (folder / name).is_file():
                raise TailwiseError(f"{folder}: no {name} there; give the folder of a finished run, or train one")
        try:
            self.about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            tensors = load_file(folder / WEIGHTS)
            check_network(self.about["network"], tensors)
            self.network = network(**self.about["network"])
            self.network.load_state_dict(tensors)
            check(self.about)
        except Exception as error:  # damaged and hostile files fail in any way
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise TailwiseError(f"{folder}: {WEIGHTS} and {ABOUT} cannot be used ({reason}); train the run again") from error
        self.dim = self.network.dim
        self.classes = self.network.classes

    def forward(self, views: Tensor) -> Output:
        """As `Network`."""
        return self.network(views)  # type: ignore[no-any-return]


def _plain(value: object) -> object:
    """What JSON writes for a tensor or a path."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written to {ABOUT}")
