"""Training objectives: one file per method, each a pure function and its `Objective`."""

from tailwise.losses.asymmetric import Asymmetric, asymmetric
from tailwise.losses.bcl import BCL, balanced_contrastive
from tailwise.losses.binary_cross_entropy import BinaryCrossEntropy, MultiLabel, binary_cross_entropy
from tailwise.losses.class_balanced import ClassBalanced, class_balanced
from tailwise.losses.contrastive import Contrastive
from tailwise.losses.cross_entropy import CrossEntropy, cross_entropy
from tailwise.losses.distribution_balanced import DistributionBalanced, distribution_balanced
from tailwise.losses.elm import ELM, embedding_spread, logit_margin
from tailwise.losses.embedding import CentreSpread, LogTriplet, PairHinge, WeightedSupCon
from tailwise.losses.focal import Focal, focal
from tailwise.losses.gcl import GCL, gaussian_clouded
from tailwise.losses.gml import GML
from tailwise.losses.gml_variants import GMLLeaveOneOut, GMLSharedQueue
from tailwise.losses.gpaco import GPaCo
from tailwise.losses.infonce import InfoNCE, infonce
from tailwise.losses.kcl import KCL
from tailwise.losses.keys import HalfPrecision, KeyProjection, Refresh, Whole
from tailwise.losses.lade import LADE, lade_regulariser
from tailwise.losses.ldam import LDAM, ldam
from tailwise.losses.ldt import LDT, label_temperature
from tailwise.losses.logit_adjusted import LogitAdjusted, logit_adjusted
from tailwise.losses.mixture import distillation, gaussian_mixture
from tailwise.losses.momentum import MomentumContrast
from tailwise.losses.momentum_supcon import MomentumSupCon
from tailwise.losses.objective import Objective
from tailwise.losses.paco import PaCo
from tailwise.losses.parametric import parametric_contrastive
from tailwise.losses.proco import ProCo, probabilistic_contrastive
from tailwise.losses.rcl import RCL, RCLDenominator, RCLStandalone, standalone_contrastive
from tailwise.losses.rescom import ResCom, hard_contrastive
from tailwise.losses.ride import RIDE
from tailwise.losses.sade import SADE
from tailwise.losses.samples import Balanced, Draw, Uniform
from tailwise.losses.sharded import GMLSharded, sharded_mixture
from tailwise.losses.supcon import NonNegativeSupCon, SupCon, supervised_contrastive
from tailwise.losses.tsc import TSC
from tailwise.losses.two_branch import TwoBranch
from tailwise.losses.vs import CDT, VS, vector_scaling

__all__ = [
    "BCL",
    "CDT",
    "ELM",
    "GCL",
    "GML",
    "KCL",
    "LADE",
    "LDAM",
    "LDT",
    "RCL",
    "RIDE",
    "SADE",
    "TSC",
    "VS",
    "Asymmetric",
    "Balanced",
    "BinaryCrossEntropy",
    "CentreSpread",
    "ClassBalanced",
    "Contrastive",
    "CrossEntropy",
    "DistributionBalanced",
    "Draw",
    "Focal",
    "GMLLeaveOneOut",
    "GMLSharded",
    "GMLSharedQueue",
    "GPaCo",
    "HalfPrecision",
    "InfoNCE",
    "KeyProjection",
    "LogTriplet",
    "LogitAdjusted",
    "MomentumContrast",
    "MomentumSupCon",
    "MultiLabel",
    "NonNegativeSupCon",
    "Objective",
    "PaCo",
    "PairHinge",
    "ProCo",
    "RCLDenominator",
    "RCLStandalone",
    "Refresh",
    "ResCom",
    "SupCon",
    "TwoBranch",
    "Uniform",
    "WeightedSupCon",
    "Whole",
    "asymmetric",
    "balanced_contrastive",
    "binary_cross_entropy",
    "class_balanced",
    "cross_entropy",
    "distillation",
    "distribution_balanced",
    "embedding_spread",
    "focal",
    "gaussian_clouded",
    "gaussian_mixture",
    "hard_contrastive",
    "infonce",
    "label_temperature",
    "lade_regulariser",
    "ldam",
    "logit_adjusted",
    "logit_margin",
    "parametric_contrastive",
    "probabilistic_contrastive",
    "sharded_mixture",
    "standalone_contrastive",
    "supervised_contrastive",
    "vector_scaling",
]
