"""The one error class, in a file that needs no torch."""


class TailwiseError(ValueError):
    """A mistake that the user can mend: one line saying what is wrong, where, and what to do. The command exits 2."""
