"""Data: sources, the long-tail protocol, splits."""

from tailwise.data.longtail import counts_from_file, largest_fitting, long_tailed, profile
from tailwise.data.multilabel import MultiLabelSplit
from tailwise.data.pixels import PixelSplit
from tailwise.data.source import Encoded, Images, Issue, Source, Split, Stacked, stack_if_small
from tailwise.data.sources import open_source
from tailwise.data.split import hold_out

__all__ = [
    "Encoded",
    "Images",
    "Issue",
    "MultiLabelSplit",
    "PixelSplit",
    "Source",
    "Split",
    "Stacked",
    "counts_from_file",
    "hold_out",
    "largest_fitting",
    "long_tailed",
    "open_source",
    "profile",
    "stack_if_small",
]
