"""What would go wrong in training is found before it."""

from pathlib import Path

import pytest
import torch
import yaml
from commands import picture
from train.jobs import QUIET

from tailwise.models import Saved, build
from tailwise.train import fit
from tailwise.types import TailwiseError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for c, name in enumerate(("deer", "fox")):
        for i in range(6):
            picture(tmp_path / "photos" / name / f"{i}.png", 10 * c + i, (40, 36))
    return tmp_path / "photos"


TINY = QUIET | {"epochs": 1, "model.backbone": "test_vit", "objective": "CrossEntropy"}


def test_a_transformer_sees_other_sizes_than_it_was_made_for(photos: Path, tmp_path: Path) -> None:
    run = fit(photos, out=tmp_path / "run", overrides=TINY | {"data.image_size": 48})
    assert run.result["n_test"] == 2


def test_a_size_that_the_network_cannot_take_is_refused_before_training(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match=r"data\.image_size 50: test_vit cannot take such pictures"):
        fit(photos, out=tmp_path / "run", overrides=TINY | {"data.image_size": 50})
    assert not (tmp_path / "run").exists()


def test_pretrained_weights_get_the_pixels_that_they_know(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(build("test_vit").state_dict(), tmp_path / "w.pth")
    options = TINY | {"data.image_size": 48, "model.weights": str(tmp_path / "w.pth")}
    run = fit(photos, out=tmp_path / "run", overrides=options)
    wanted = [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
    assert yaml.safe_load(run.recipe_text)["data"]["normalisation"] == wanted
    assert list(Saved(run.path).about["normalisation"].values()) == wanted
    said = fit(photos, out=tmp_path / "said", overrides=options | {"data.normalisation": [[0.1, 0.2, 0.3], [1, 1, 2]]})
    assert Saved(said.path).about["normalisation"] == {"mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 2.0]}


def test_a_spread_of_nothing_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(TailwiseError, match="standard deviations must be positive"):
        fit(photos, out=tmp_path / "run", overrides=TINY | {"data.normalisation": [[0, 0, 0], [1, 0, 1]]})
