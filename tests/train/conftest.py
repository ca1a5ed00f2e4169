"""One finished run for all tests of the trainer; who changes it, changes a copy."""

import pytest
from train.jobs import digits

from tailwise.train.run import Run


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return digits(tmp_path_factory.mktemp("runs") / "done")
