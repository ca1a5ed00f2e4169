"""Whether pretrained weights can be had: a network that answers, fails, or does neither."""

import threading

import pytest

from tailwise.models import pretrained

NAME = "deit3_small_patch16_224.fb_in22k_ft_in1k"


def test_weights_that_come_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(pretrained, "fetch", asked.append)
    assert pretrained.trouble(NAME) == ""
    assert asked == ["timm/deit3_small_patch16_224.fb_in22k_ft_in1k"]


def test_a_failing_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise OSError("cannot reach the hub\nand more")

    monkeypatch.setattr(pretrained, "fetch", fail)
    assert pretrained.trouble(NAME) == "cannot reach the hub"


def test_a_network_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    wake = threading.Event()
    monkeypatch.setattr(pretrained, "fetch", lambda _: wake.wait(30))
    assert pretrained.trouble(NAME, patience=0.05) == "they did not come within 0 s"
    wake.set()


@pytest.mark.parametrize("name", ["resnet32", "nonsense"])
def test_a_model_without_weights_says_so(name: str) -> None:
    assert pretrained.trouble(name) == "timm has none"


def test_the_size_that_a_model_was_made_for() -> None:
    assert (pretrained.input_size(NAME), pretrained.input_size("test_vit")) == (224, 160)


def test_a_hub_that_nobody_finds_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def nowhere(*_: object, **__: object) -> None:
        raise OSError("no such host")

    monkeypatch.setattr(pretrained.socket, "create_connection", nowhere)
    monkeypatch.setattr(pretrained, "getproxies", dict)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: pytest.fail("asked the hub's client"))
    assert pretrained.trouble(NAME) == "no such host"


def test_what_is_in_the_cache_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(pretrained.socket, "create_connection", lambda *_, **__: pytest.fail("used the network"))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repository, file: f"/cache/{repository}/{file}")
    assert pretrained.trouble(NAME) == ""
