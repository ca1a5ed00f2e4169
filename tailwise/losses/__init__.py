"""Training objectives: one file per method, each a pure function and its `Objective`."""

from tailwise.losses.bcl import BCL, balanced_contrastive
from tailwise.losses.cross_entropy import CrossEntropy, cross_entropy
from tailwise.losses.elm import ELM, embedding_spread, logit_margin
from tailwise.losses.embedding import CentreSpread, LogTriplet, PairHinge, WeightedSupCon
from tailwise.losses.gml import GML
from tailwise.losses.logit_adjusted import LogitAdjusted, logit_adjusted
from tailwise.losses.mixture import distillation, gaussian_mixture
from tailwise.losses.objective import Objective
from tailwise.losses.rcl import RCL, RCLDenominator, RCLStandalone, standalone_contrastive

__all__ = [
    "BCL",
    "ELM",
    "GML",
    "RCL",
    "CentreSpread",
    "CrossEntropy",
    "LogTriplet",
    "LogitAdjusted",
    "Objective",
    "PairHinge",
    "RCLDenominator",
    "RCLStandalone",
    "WeightedSupCon",
    "balanced_contrastive",
    "cross_entropy",
    "distillation",
    "embedding_spread",
    "gaussian_mixture",
    "logit_adjusted",
    "logit_margin",
    "standalone_contrastive",
]
