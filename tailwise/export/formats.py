"""How a model is written in each format, and how the written file is run again, to check it."""

import importlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailwise.inference import Size
from tailwise.models import Network, network
from tailwise.types import TailwiseError

KEY = "tailwise"
"""Under this key a file says what it is, as JSON."""
EXTRA = f"{KEY}.json"
"""The same among the extra files of a torch.export program."""

Rerun = Callable[[Tensor], Tensor]
"""A written file as a function: images (N, 3, H, W) to logits."""


class NotConverted(TailwiseError):
    """The model does something that the format cannot say, at these sides."""


@dataclass(frozen=True)
class Sides:
    """Height and width of the input: those of ``size``, or any multiples of ``step``."""

    size: Size
    step: int | None = None

    @property
    def traced(self) -> Size:
        """An example; where sides are free, they differ and are not one step, which a tracer would take for constants."""
        return self.size if self.step is None else (2 * self.step, 3 * self.step)


class Deployed(nn.Module):
    """Normalised images (N, 3, H, W) to logits (N, C), of a model for pixels (N, C, H, W)."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Of several experts the mean."""
        logits: Tensor = self.model(images[None]).at_labels()
        return logits if logits.ndim == 2 else logits.movedim(-1, 1)


def onnx(deployed: Deployed, sides: Sides, about: str, path: Path) -> Rerun:
    """One ONNX file, weights included; ``about`` is in its ``metadata_props``."""
    try:
        runtime, *_ = [importlib.import_module(name) for name in ("onnxruntime", "onnx", "onnxscript")]
    except ModuleNotFoundError as error:
        advice = "run pip install tailwise[export], or take --format torch"
        raise TailwiseError(f"export: ONNX needs the package {error.name}; {advice}") from error
    program = _program(deployed, sides)
    with _converting("ONNX"):
        made: Any = torch.onnx.export(program, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False)
        model = made.model_proto
        _tidy(model)
        entry = model.metadata_props.add()
        entry.key, entry.value = KEY, about
        content = model.SerializeToString()  # two gigabytes are more than it can hold
    path.write_bytes(content)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with _converting("onnxruntime"):
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _tidy(model: Any) -> None:
    """Sides by name, and no source lines of the machine that wrote the file."""
    del model.graph.value_info[:]
    for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
        del node.metadata_props[:]
        node.doc_string = ""
    axes = ("batch", "channels", "height", "width")
    for value in (*model.graph.input, *model.graph.output):
        for name, dim in zip(axes, value.type.tensor_type.shape.dim, strict=False):
            if dim.dim_param:
                dim.dim_param = name


def program(deployed: Deployed, sides: Sides, about: str, path: Path) -> Rerun:
    """A torch.export program, .pt2; ``about`` is one of its extra files."""
    torch.export.save(_program(deployed, sides), path, extra_files={EXTRA: about})
    return torch.export.load(path).module()


def _program(deployed: Deployed, sides: Sides) -> torch.export.ExportedProgram:
    """The model, traced, without the source lines that torch notes beside each operation."""
    batch, rows, columns = (torch.export.Dim(name, min=1, max=2**16) for name in ("batch", "rows", "columns"))
    free: dict[int, Any] = {0: batch}
    if sides.step is not None:
        free |= {2: sides.step * rows, 3: sides.step * columns}
    with _converting("torch.export"):
        traced = torch.export.export(deployed, (torch.zeros(2, 3, *sides.traced),), dynamic_shapes=(free,))
    for module in traced.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
    return traced


def safetensors(deployed: Deployed, sides: Sides, about: str, path: Path) -> Rerun:
    """The weights alone; ``about`` is the only entry of their metadata, since several are written in random order."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    tensors = {name: value.detach().contiguous() for name, value in deployed.model.state_dict().items()}
    save_file(tensors, path, metadata={KEY: about})
    with safe_open(path, "pt") as file:
        again = network(**json.loads(file.metadata()[KEY])["network"]).eval()
        again.load_state_dict({name: file.get_tensor(name) for name in tensors})
    return Deployed(again)


FORMATS: dict[str, tuple[str, Callable[[Deployed, Sides, str, Path], Rerun]]] = {
    "onnx": (".onnx", onnx),
    "torch": (".pt2", program),
    "safetensors": (".safetensors", safetensors),
}
"""The ending of a file and what writes it."""


@contextmanager
def _converting(what: str) -> Iterator[None]:
    """Whatever a converter raises, in one line; they have no common error of their own."""
    try:
        yield
    except Exception as error:
        cause = error.__cause__ or error
        line = re.sub(r"\x1b\[\d*m", "", next(iter(str(cause).strip().splitlines()), ""))
        raise NotConverted(
            f"export: {what} cannot take this network ({type(cause).__name__}: {line:.120}); try another --format"
        ) from error
