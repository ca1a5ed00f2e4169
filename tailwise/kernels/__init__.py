"""Log-sum-exps over labelled keys: one front, `class_lse`."""

from tailwise.kernels.front import ClassLSE, class_lse

__all__ = ["ClassLSE", "class_lse"]
