"""What timm knows of a model's pretrained weights: whether they can be had, without waiting for a network that is not there."""

import socket
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies

CONNECT = 5.0
"""Seconds that the hub may take to answer."""
PATIENCE = 90.0
"""Seconds that a download may take; what has come by then is kept, so a later run may find the rest."""


def trouble(name: str, patience: float = PATIENCE) -> str:
    """Why timm's pretrained weights of model ``name`` cannot be had; empty when they are here or came within ``patience`` s."""
    import timm

    repository = timm.is_model(name) and getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)
    if not repository:
        return "timm has none"
    found: list[str] = []

    def download() -> None:
        try:
            fetch(repository)
            found.append("")
        except Exception as error:  # a network fails in more ways than can be listed
            found.append((str(error).strip().splitlines() or [type(error).__name__])[0])

    thread = Thread(target=download, daemon=True)  # a network that swallows packets must not hold the run up
    thread.start()
    thread.join(patience)
    return found[0] if found else f"they did not come within {patience:.0f} s"


def fetch(repository: str) -> None:
    """Have a model's file of weights in the local cache; raises what sockets and the hub's client raise."""
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    file = "model.safetensors"
    if isinstance(try_to_load_from_cache(repository, file), str):
        return
    hub = urlsplit(constants.ENDPOINT)
    if hub.hostname and not constants.HF_HUB_OFFLINE and not getproxies():  # its client would try for half a minute
        socket.create_connection((hub.hostname, hub.port or 443), timeout=CONNECT).close()
    hf_hub_download(repository, file, etag_timeout=CONNECT)


def normalisation(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
    """Mean and standard deviation, of pixels in [0, 1], that timm's model ``name`` was trained with; None of other models."""
    import timm

    if not timm.is_model(name):
        return None
    config = timm.get_pretrained_cfg(name)
    return None if config is None else (config.mean, config.std)


def input_size(name: str) -> int:
    """The side in pixels of the square images that timm made model ``name`` for."""
    import timm

    return int(timm.get_pretrained_cfg(name).input_size[-1])
