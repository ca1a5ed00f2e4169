"""Speed and memory: how they are measured, and what was found. Not installed with the package; run from the repository."""
