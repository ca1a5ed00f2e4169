"""Backbones by name: the CIFAR ResNets, and every model of timm."""

import difflib
import re
from pathlib import Path

from torch import Tensor, nn

from tailwise.models.resnet_cifar import DEPTHS, ResNetCifar
from tailwise.models.weights_file import read_tensors
from tailwise.types import TailwiseError

_CIFAR = {f"resnet{depth}": depth for depth in DEPTHS}
_PREFIX = re.compile(r"^(module\.|_orig_mod\.|network\.|backbone\.)+")


def build(name: str, weights: str = "none") -> nn.Module:
    """A network that maps images (N, 3, H, W) to features (N, ``num_features``).

    ``name`` is resnet8, 14, 20, 32, 44, 56 or 110 for the CIFAR family, else any of `timm.list_models()`.
    ``weights`` is "none" (random), "pretrained" (timm's download) or the path of a checkpoint (.safetensors, .pth).
    Raises `TailwiseError` for an unknown name (naming the nearest) and for weights that cannot be had.
    """
    if name in _CIFAR:
        if weights == "pretrained":
            raise TailwiseError(f"model {name}: there are no pretrained weights; use weights none, or a checkpoint's path")
        model: nn.Module = ResNetCifar(_CIFAR[name])
    else:
        model = _timm(name, pretrained=weights == "pretrained")
    if weights not in ("none", "pretrained"):
        _load(model, name, Path(weights))
    return model


def _timm(name: str, pretrained: bool) -> nn.Module:
    """A timm model without its classifier."""
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, [*_CIFAR, *timm.list_models()], n=1, cutoff=0.0)
        raise TailwiseError(f"model {name}: unknown; did you mean {near[0]}? (or any other name that timm lists)")
    try:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, **_any_size(name))
    except Exception as error:
        if not pretrained:
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TailwiseError(
            f"model {name}: pretrained weights could not be had ({reason}); check the network, or give a checkpoint's path"
        ) from error
    # Some families end in one more layer than `num_features` counts; the width that comes out is this one.
    model.num_features = getattr(model, "head_hidden_size", None) or model.num_features
    return model


def _any_size(name: str) -> dict[str, bool]:
    """What lets a plain vision transformer see images of other sizes than it was made for: its positions are resampled."""
    from timm.models import is_model_in_modules

    return {"dynamic_img_size": True} if is_model_in_modules(name.split(".")[0], ["vision_transformer", "deit"]) else {}


def _load(model: nn.Module, name: str, path: Path) -> None:
    """Fill the backbone from a checkpoint; a classifier in the file is left out, a missing backbone weight is an error."""
    found = {_PREFIX.sub("", key): value for key, value in _read(path).items()}
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in found]
    if missing:
        raise TailwiseError(f"{path}: no weights for {len(missing)} of {len(wanted)} entries of {name}, first {missing[0]}")
    for key, value in wanted.items():
        if found[key].shape != value.shape:
            raise TailwiseError(
                f"{path}: {key} has shape {tuple(found[key].shape)}, {name} needs {tuple(value.shape)}; is it another model's?"
            )
    model.load_state_dict({key: found[key] for key in wanted})


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, without running code from it."""
    if not path.is_file():
        raise TailwiseError(f'{path}: no such checkpoint; weights are "none", "pretrained" or the path of a file')
    if path.suffix != ".safetensors":
        return read_tensors(path)
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # safetensors has no common error of its own
        raise TailwiseError(f"{path}: not a safetensors file that can be read ({error}); save a state_dict") from error
