"""Routing diverse experts, RIDE (Wang et al., ICLR 2021): experts that share the label and differ in the rest."""

import torch
from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.cross_entropy import cross_entropy
from tailwise.losses.objective import Objective, full_precision, pointwise, require
from tailwise.types import Batch, Model, Output


def class_temperature(log_prior: Tensor, reweight: float) -> Tensor:
    """T_c = t_c / max t (C,) in (0, 1], with t_c = 1 + r (C π_c − 1): the rarer a class, the sharper; r in [0, 1)."""
    raised = (1 - reweight) + reweight * log_prior.numel() * log_prior.exp()  # in this order, positive for any r below 1
    return raised / raised.max()


@full_precision
def disagreement(logits: Tensor, temperature: Tensor) -> Tensor:
    """How far the experts are from their mean, T̄² Σ_k KL(m ‖ p_k), per sample (M,).

    Logits (E, M, C) and temperatures (C,) in (0, 1] with mean T̄. With a_k = log softmax(f_k)::

        p_k = softmax_c(a_kc / T_c),     m = softmax_c(mean_k a_kc / T_c), without a gradient

    At most Σ_k CE_k / (1 − r) for the temperatures of `class_temperature`. Where T_c differs between classes, softmax(f / T)
    would also depend on a constant added to f, which cross-entropy does not see, and nothing would bound the value:
    hence a and not f, where the authors' code has f. Under one temperature the two are the same.
    """
    scores = logits.log_softmax(-1)
    experts = (scores / temperature).log_softmax(-1)
    mean = (scores.mean(0) / temperature).log_softmax(-1).detach()
    return temperature.mean() ** 2 * (mean.exp() * (mean - experts)).sum((0, -1))


class RIDE(Objective):
    """Σ_k CE(f_k, y) − D · T̄² Σ_k KL(m ‖ p_k) over the experts k of a model: see `disagreement`.

    T is 1 until the share ``reweight_from`` of the epochs, then T_c falls with the class count: see `class_temperature`.
    Of a model with one expert it is `CrossEntropy`. Defaults: D = 0.45 (CIFAR; the code's own default is 0.2), r = 0.05,
    from epoch 160 of 200. ``diversity`` lies in [0, 1 − r], where the loss cannot fall below zero. The paper compares
    experts in pairs; the mean, and the direction of the divergence, are those of the authors' code. Its base loss is
    LDAM, with class weights from epoch 160 on; here it is cross-entropy, and a subclass may override `values`. Neither
    its router nor its distillation is here.
    """

    classifier = "cosine"
    mixed = False
    temperature: Tensor

    def __init__(
        self,
        counts: Counts,
        model: Model,
        diversity: float = 0.45,
        reweight: float = 0.05,
        reweight_from: float = 0.8,
    ) -> None:
        super().__init__(counts, model)
        require(0 <= reweight < 1, f"RIDE: reweight must lie in [0, 1), got {reweight}")
        require(0 <= diversity <= 1 - reweight, f"RIDE: diversity must lie in [0, 1 - reweight], got {diversity}")
        require(0 <= reweight_from <= 1, f"RIDE: reweight_from is a share of the epochs, in [0, 1], got {reweight_from}")
        self.diversity, self.reweight, self.reweight_from = diversity, reweight, reweight_from
        self.register_buffer("temperature", torch.ones_like(self.log_prior))

    @property
    def carried_log_prior(self) -> Tensor:
        """log π: every expert follows the training frequencies, and so does their mean."""
        return self.log_prior

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Class-wise temperatures from the share ``reweight_from`` of the epochs on."""
        late = epoch >= round(self.reweight_from * epochs)
        self.temperature.copy_(class_temperature(self.log_prior, self.reweight if late else 0.0))

    def values(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The base loss (M,) of logits (M, C), of whichever expert, and labels (M,)."""
        return cross_entropy(logits, labels)

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean Σ_k CE_k, "div": −D · mean T̄² Σ_k KL_k}``."""
        _, labels, weights = pointwise(out, batch)
        experts = out.per_expert().flatten(1, -2)  # (E, M, C)
        values = self.values(experts.flatten(0, 1), labels.repeat(len(experts))).view(experts.shape[:2]).sum(0)
        gain = disagreement(experts, self.temperature)
        return {"cls": global_mean(values, weights), "div": -self.diversity * global_mean(gain, weights)}
