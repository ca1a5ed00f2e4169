import json
from pathlib import Path

import pytest
import torch

from tailwise.models import Network, Saved, save
from tailwise.types import TailwiseError


def _trained() -> Network:
    net = Network("resnet8", 3, "cosine")
    net(torch.rand(2, 4, 3, 8, 8))  # moves the running statistics
    return net.eval()


def test_a_saved_network_predicts_the_same(tmp_path: Path) -> None:
    net, run = _trained(), tmp_path / "new" / "run"
    save(net, run, {"names": ["a", "b", "ü"], "carried_log_prior": torch.zeros(3), "folder": tmp_path})
    again = Saved(str(run)).eval()
    views = torch.rand(1, 5, 3, 8, 8)
    assert torch.equal(again(views).logits, net(views).logits)
    assert (again.dim, again.classes) == (64, 3)
    assert again.about == {
        "network": {"backbone": "resnet8", "classes": 3, "classifier": "cosine"},
        "names": ["a", "b", "ü"],
        "carried_log_prior": [0.0, 0.0, 0.0],
        "folder": str(tmp_path),
    }


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    net = _trained()
    save(net, tmp_path / "a", {})
    save(net, tmp_path / "b", {})
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_rebuilding_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    asked = []
    build = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **kw: asked.append(kw["pretrained"]) or build(name, **kw))
    save(Network("test_resnet", 2), tmp_path, {})
    Saved(tmp_path)
    assert asked == [False, False]


def test_a_full_disk_keeps_the_last_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = _trained()
    save(net, tmp_path, {"epoch": 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TailwiseError, match="No space left on device"):
        save(net, tmp_path, {"epoch": 2})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_json_cannot_write_is_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="set"):
        save(_trained(), tmp_path / "run", {"names": {"a"}})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", ["no folder", "no weights", "no about", "torn weights", "torn about", "other network"])
def test_a_damaged_run_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    run = tmp_path / "run"
    save(_trained(), run, {})
    weights, about = run / "model.safetensors", run / "model.json"
    if damage == "no folder":
        run = tmp_path / "absent"
    elif damage == "no weights":
        weights.unlink()
    elif damage == "no about":
        about.unlink()
    elif damage == "torn weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "torn about":
        about.write_text(about.read_text()[:20])
    else:
        about.write_text(json.dumps({"network": {"backbone": "resnet14", "classes": 3, "classifier": "cosine"}}))
    with pytest.raises(TailwiseError, match=str(run)) as caught:
        Saved(run)
    assert "\n" not in str(caught.value)
