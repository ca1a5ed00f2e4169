"""What is chosen where nobody has said anything: the rules, and what the user's words leave of them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tailwise.data import Split, Stacked
from tailwise.models import pretrained
from tailwise.train import choose, parse, rules
from tailwise.train.choose import Choice
from tailwise.train.recipe import Data

COUNTS = torch.tensor([200, 40, 4])


def pictures(side: int, n: int = 4) -> Stacked:
    return Stacked(torch.zeros(n, 3, side, side + 3, dtype=torch.uint8))


def chosen(side: int, *words: str) -> dict[str, Choice]:
    said = choose.told(words)
    train = Split(pictures(side, 244), torch.arange(3).repeat_interleave(COUNTS))
    found = choose.objective(said, "LogitAdjusted", "so", COUNTS) + choose.choices(parse.resolve({}, words), said, train)
    return {choice.what: choice for choice in found}


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 GiB, no GPU, and no network."""
    monkeypatch.setattr(rules, "memory", lambda: 16 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(pretrained, "trouble", lambda name: "no network")


def test_the_words_of_a_command_name_keys_and_sections() -> None:
    said = choose.told(["--optim.lr=0.1", "--epochs", "3", "x", "--schedule=Steps"])
    assert said.settles("optim.lr")
    assert said.settles("schedule.warmup")
    assert said.touches("optim")
    assert not said.settles("optim")
    assert not said.settles("optim.lr_of_something")
    assert not said.touches("3")


def test_small_images_get_a_small_network_and_no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "trouble", lambda name: pytest.fail("asked for weights"))
    found = chosen(32)
    assert found["network"].keys == {"model": {"backbone": "resnet32"}}
    assert found["image size"].value == "32 pixels"
    assert found["batch size"].keys == {"batch_size": 15}
    assert found["learning rate"].keys["optim"] == {"lr": rules.rate("sgd", 15, rules.SCRATCH)}
    assert "--optim.lr" in str(found["learning rate"])


def test_without_weights_large_images_start_from_scratch_and_it_is_said() -> None:
    found = chosen(150)["network"]
    assert found.keys == {"model": {"backbone": "resnet18"}}
    assert "from scratch" in found.why
    assert found.why.endswith("could not be had: no network")
    assert "--model.weights" in found.option


def test_with_weights_a_transformer_is_tuned_lightly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "trouble", lambda name: "")
    found = chosen(150)
    model = found["network"].keys["model"]
    assert model["backbone"].startswith("deit3_small_patch16_224")
    assert {key: model[key] for key in ("weights", "adapter", "classifier", "head")} == {
        "weights": "pretrained",
        "adapter": "lora",
        "classifier": "cosine",
        "head": "class_means",
    }
    assert found["image size"].value == "224 pixels"
    assert found["learning rate"].value == "0.01"


def test_another_pretrained_network_or_one_without_peft_is_tuned_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "trouble", lambda name: "")
    found = chosen(150, "--model.backbone=resnet18")
    assert found["network"].keys == {"model": {"backbone": "resnet18", "weights": "pretrained"}}
    assert found["learning rate"].keys["optim"]["lr"] == rules.rate("sgd", 32, rules.TUNED)
    assert "adapter" not in chosen(150, "--model.adapter=none")["network"].keys["model"]
    monkeypatch.setattr(choose, "find_spec", lambda name: None)
    found = chosen(150)
    assert "adapter" not in found["network"].keys["model"]
    assert "pip install" in found["network"].why


def test_weights_from_a_file_are_used_at_their_networks_size(tmp_path: Path) -> None:
    found = chosen(90, "--model.backbone=test_vit", f"--model.weights={tmp_path / 'w.pth'}")
    assert found["network"].keys["model"]["adapter"] == "lora"
    assert found["network"].keys["model"]["weights"] == str(tmp_path / "w.pth")
    assert found["image size"].value == "160 pixels"


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        (["--epochs=3"], "epochs"),
        (["--optim.lr=0.3"], "learning rate"),
        (["--batch_size=9"], "batch size"),
        (["--data.image_size=16"], "image size"),
        (["--objective=BCL"], "objective"),
        (["--post_hoc=LogitAdjustment"], "objective"),
        (["--model.backbone=resnet8"], "network"),
        (["--schedule=Steps"], "warm-up"),
        (["--schedule.warmup=2"], "warm-up"),
        (["--optim={lr: 0.3}"], "learning rate"),
    ],
)
def test_what_the_user_says_is_not_chosen(words: list[str], gone: str) -> None:
    everything = chosen(32)
    left = chosen(32, *words)
    assert set(everything) - set(left) == {gone}


@pytest.mark.parametrize(
    "word", ["--optim.weight_decay=1e-4", "--optim.momentum=0.8", "--engine.threads=1", "--model.width=64"]
)
def test_another_key_of_the_same_section_leaves_every_choice(word: str) -> None:
    assert {what: choice.keys for what, choice in chosen(32, word).items()} == {
        what: choice.keys for what, choice in chosen(32).items()
    }


def test_a_batch_of_the_users_moves_the_rate_and_a_schedule_stays() -> None:
    assert chosen(32, "--batch_size=64")["learning rate"].keys["optim"]["lr"] == rules.rate("sgd", 64, rules.SCRATCH)
    assert chosen(32)["warm-up"].keys["schedule"]["init_args"] == {"warmup": int(chosen(32)["epochs"].value) / 10}


def split(groups: Any, **held: list[int]) -> Choice:
    def made(labels: list[int], groups: Any = None) -> Split:
        return Split(pictures(8, len(labels)), torch.tensor(labels), groups)

    parts = {name: made(labels) for name, labels in held.items()}
    return choose.split(Data(), made(3 * [0], groups), parts, COUNTS)


def test_the_split_says_what_is_lacking_and_what_stays_together() -> None:
    assert "the data bring the others" in split(None).why
    whole = split(None, test=[0, 1, 2], val=[0, 1])
    assert "3 images to train on, 3 for test, 2 for val" in whole.value
    assert "1 class has too few for val" in whole.why
    assert "groups" not in whole.option
    assert "2 groups" in split(("a", "b", "a"), test=[0, 1, 2]).why
    assert "--data.groups ignore" in split(("a", "a", "a"), test=[0]).option
