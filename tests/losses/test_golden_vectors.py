"""Losses and gradients agree with what the published implementations computed on random inputs (float32)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tailwise.counts import count_labels, log_prior
from tailwise.losses import balanced_contrastive, distillation, gaussian_mixture, logit_adjusted

GOLDEN = Path(__file__).parents[1] / "golden"
SETTINGS = {entry["case"]: entry for entry in json.loads((GOLDEN / "losses.json").read_text())}


@pytest.fixture(scope="module")
def vectors() -> dict[str, Tensor]:
    with np.load(GOLDEN / "losses.npz") as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


def assert_gradient(ours: Tensor | None, theirs: Tensor) -> None:
    assert ours is not None
    assert (ours.reshape(-1) - theirs.reshape(-1)).norm() <= 1e-4 * theirs.norm()


@pytest.mark.parametrize("case", ["gml0", "gml1", "gml2"])
def test_gml(vectors: dict[str, Tensor], case: str) -> None:
    settings, x = SETTINGS[case], {k.split("/")[1]: v for k, v in vectors.items() if k.startswith(case)}
    counts, labels = x["class_counts"].long(), x["query_labels"].long()
    prior = log_prior(counts).float()
    query, keys, cosine = (x[k].clone().requires_grad_() for k in ("query", "keys", "student_cosine_logits"))
    log_t = torch.tensor(float(settings["temperature"])).log().requires_grad_()
    key_labels = x["key_labels"].long()
    order = torch.argsort(key_labels, stable=True)
    mixture = gaussian_mixture(
        query, labels, x["query_index"].long(), keys[order], key_labels[order], x["key_index"].long()[order],
        prior, count_labels(key_labels, counts.numel()), log_t,
    )  # fmt: skip
    logits = settings["classifier_scale"] * cosine
    loss = settings["gamma"] * logit_adjusted(logits, labels, prior).mean()
    loss = loss + settings["beta"] * (mixture.contrast + mixture.temperature).mean()
    if settings["teacher_used"]:
        teacher = settings["classifier_scale"] * x["teacher_cosine_logits"]
        loss = loss + settings["alpha"] * distillation(logits, teacher, settings["kd_temperature"]).mean()
    torch.testing.assert_close(loss, x["loss"], rtol=1e-5, atol=0)
    loss.backward()
    assert_gradient(query.grad, x["grad_query"])
    assert_gradient(keys.grad, x["grad_keys"])
    assert_gradient(cosine.grad, x["grad_student_cosine_logits"])
    assert_gradient(log_t.grad, x["grad_log_temperature"])


@pytest.mark.parametrize("case", ["bcl0", "bcl1", "bcl2"])
def test_bcl(vectors: dict[str, Tensor], case: str) -> None:
    x = {k.split("/")[1]: v for k, v in vectors.items() if k.startswith(case)}
    features, prototypes = (x[k].clone().requires_grad_() for k in ("features", "prototypes"))
    rows, labels = features.flatten(0, 1), x["labels"].long().repeat_interleave(2)
    loss = balanced_contrastive(
        rows, labels, rows, labels, torch.arange(len(labels)), prototypes, SETTINGS[case]["temperature"]
    ).mean()
    torch.testing.assert_close(loss, x["loss"], rtol=1e-5, atol=0)
    loss.backward()
    assert_gradient(features.grad, x["grad_features"])
    assert_gradient(prototypes.grad, x["grad_prototypes"])
