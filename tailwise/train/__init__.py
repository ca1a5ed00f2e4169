"""Training: recipes, the trainer, and run folders."""

from tailwise.train.fit import evaluate, fit, resume
from tailwise.train.recipe import Recipe
from tailwise.train.run import Run

__all__ = ["Recipe", "Run", "evaluate", "fit", "resume"]
