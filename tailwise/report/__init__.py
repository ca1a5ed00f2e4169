"""Reports of finished runs, as text."""

from tailwise.report.text import card, compare, table

__all__ = ["card", "compare", "table"]
