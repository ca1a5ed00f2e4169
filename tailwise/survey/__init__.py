"""A look at a data set before training: ``tailwise data``. Nothing is trained and nothing is changed."""

from tailwise.survey.record import Survey, survey

__all__ = ["Survey", "survey"]
