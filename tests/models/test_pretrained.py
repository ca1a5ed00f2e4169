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
