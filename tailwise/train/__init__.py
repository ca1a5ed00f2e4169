"""Training: recipes, the trainer, and run folders."""

from tailwise.train.fit import evaluate, fit, resume
from tailwise.train.recipe import Recipe
from tailwise.train.run import Run
from tailwise.train.study import study, write_study

__all__ = ["Recipe", "Run", "evaluate", "fit", "resume", "study", "write_study"]
