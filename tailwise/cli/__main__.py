"""``python -m tailwise.cli``."""

from tailwise.cli import script

if __name__ == "__main__":
    script()
