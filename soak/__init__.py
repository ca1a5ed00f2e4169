"""The promises of docs/reliability.md, tried at length. One module for each row of that page: ``python -m soak.PART``."""
