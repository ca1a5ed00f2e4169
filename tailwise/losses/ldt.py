"""Label-dependent temperatures, LDT, beside vector scaling (Behnia et al., AISTATS 2023).

The equation is recalled and was not checked against a paper or a code; no number of theirs is claimed.
"""

from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.cross_entropy import cross_entropy
from tailwise.losses.objective import Objective, pointwise, require
from tailwise.losses.rows import by_rows
from tailwise.losses.vs import check_temperatures, temperatures
from tailwise.types import Batch, Model, Output


@by_rows
def label_temperature(logits: Tensor, labels: Tensor, counts: Tensor, gamma: float) -> Tensor:
    """ℓ = cross-entropy of f / Δ_y, Δ_y = (n_max / n_y)^γ, per sample (M,), for logits (M, C), labels (M,), counts (C,).

    All logits of a sample are divided by the factor of its label, so a rare class must win by more. γ = 0 is
    cross-entropy. `vector_scaling` divides each logit by the factor of its own class instead.
    """
    return cross_entropy(logits / temperatures(counts, gamma).to(logits.dtype)[labels, None], labels)


class LDT(Objective):
    """Cross-entropy at a temperature of the label; prediction uses the bare logits. The default γ is that of `VS`."""

    mixed = False

    def __init__(self, counts: Counts, model: Model, gamma: float = 0.3) -> None:
        super().__init__(counts, model)
        require(gamma >= 0, f"LDT: gamma must not be negative, got {gamma}")
        check_temperatures(self.counts, gamma, "LDT")
        self.gamma = gamma

    @property
    def carried_log_prior(self) -> Tensor:
        """log π_c / Δ_c, normalised: where all scores are equal, the gradient of a sample is 1 / Δ_y of its usual size."""
        return (self.log_prior - temperatures(self.counts, self.gamma).log().to(self.log_prior.dtype)).log_softmax(0)

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": mean ℓ}``."""
        logits, labels, weights = pointwise(out, batch)
        return {"cls": global_mean(label_temperature(logits, labels, self.counts, self.gamma), weights)}
