"""Label-distribution-aware margins with deferred re-weighting, LDAM-DRW (Cao et al., NeurIPS 2019)."""

from torch import Tensor

from tailwise.counts import Counts
from tailwise.distributed import global_mean
from tailwise.losses.cross_entropy import cross_entropy
from tailwise.losses.objective import pointwise, require
from tailwise.losses.reweight import Reweighted
from tailwise.losses.rows import by_rows
from tailwise.types import Batch, Model, Output


def ldam_margins(counts: Tensor, max_margin: float) -> Tensor:
    """m_c = m_max n_c^{−1/4} / max_j n_j^{−1/4} (C,) float64: the rarest class has m_max; zero counts as one."""
    size = counts.clamp(min=1).double()
    return max_margin * (size.min() / size) ** 0.25


@by_rows
def ldam(logits: Tensor, labels: Tensor, margins: Tensor, scale: float) -> Tensor:
    """ℓ = cross-entropy of f − s m_y 1[c = y], per sample (M,), for logits (M, C), labels (M,), margins (C,) in cosine.

    The logits are *already scaled*: f = s cos, what a cosine classifier of ``scale`` s puts out. So the margin is
    multiplied by s here, and the logits are not. Given raw cosines, multiply them by s first: ``ldam(s * cos, y, m, s)``.
    The margin would be s times too small or too large otherwise. A linear classifier has s = 1.
    """
    lowered = -scale * margins.to(logits.dtype)[labels]
    return cross_entropy(logits.scatter_add(1, labels[:, None], lowered[:, None]), labels)


class LDAM(Reweighted):
    """Cross-entropy with a margin that is larger for rare classes (Cao et al., NeurIPS 2019), on a cosine classifier::

        ℓ = w_y ( log( e^(f_y − s m_y) + Σ_{c≠y} e^(f_c) ) − (f_y − s m_y) )        m_c = m_max (n_c / n_min)^(−1/4)

    with s the classifier's scale, 30 by default, and w from effective numbers, in the last part of training only (DRW).

    - ``max_margin`` m_max ≥ 0, in cosine: 0.5; the paper has 0.3 for iNaturalist.
    - ``beta`` β in [0, 1), of the weights: 0.9999; 0 is LDAM alone. ``deferred`` in [0, 1]: after which share of the epochs
      they set in, by `on_epoch`: 0.8.

    The mean divides by Σ w_y, as the authors' code does, unlike `ClassBalanced`: so the learning rate keeps its meaning
    when the weights set in. Raises `TailwiseError` for options out of range.

    The margins leave the prior in the scores: equal scores mean that π_c w_c p(x|c) is equal up to a factor below
    C / (C − 1). What favours the tail at test is the weights.
    """

    classifier = "cosine"
    margins: Tensor

    def __init__(
        self,
        counts: Counts,
        model: Model,
        max_margin: float = 0.5,
        beta: float = 0.9999,
        deferred: float = 0.8,
    ) -> None:
        super().__init__(counts, model, beta, deferred)
        require(max_margin >= 0, f"LDAM: max_margin must not be negative, got {max_margin}")
        self.register_buffer("margins", ldam_margins(self.counts, max_margin).to(self.log_prior.dtype))

    def forward(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """``{"cls": Σ w_y ℓ / Σ w_y}``."""
        logits, labels, weights = pointwise(out, batch)
        values = ldam(logits, labels, self.margins, out.scale)
        return {"cls": global_mean(values, weights * self.class_weight[labels])}
