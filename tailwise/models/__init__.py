"""Models: backbones, classifiers, and a run's saved network."""

from tailwise.models.backbones import build
from tailwise.models.classifiers import Cosine, Linear, Scaled
from tailwise.models.dense import DenseNetwork
from tailwise.models.experts import Experts, network
from tailwise.models.model import Network
from tailwise.models.resnet_cifar import ResNetCifar
from tailwise.models.saved import Saved, save

__all__ = [
    "Cosine",
    "DenseNetwork",
    "Experts",
    "Linear",
    "Network",
    "ResNetCifar",
    "Saved",
    "Scaled",
    "build",
    "network",
    "save",
]
