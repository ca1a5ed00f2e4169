"""What a scheduler's notice does, also before torch is loaded."""

import os
import signal
import subprocess
import sys

import pytest

from tailwise.errors import Told
from tailwise.notice import end, heard, listen

LOADING = """
import os, signal, sys
from tailwise.notice import heard, leave
with heard(leave):
    os.kill(os.getpid(), signal.SIGTERM)
    sys.exit(3)
"""


@pytest.mark.parametrize("notice", [signal.SIGTERM, signal.SIGUSR1])
def test_a_notice_is_heard_in_its_block_only(notice: signal.Signals) -> None:
    before = signal.getsignal(notice)
    with pytest.raises(Told, match=f"ended by {notice.name}; give the same command again") as told, heard(end):
        os.kill(os.getpid(), notice)
    assert told.value.code == 75
    assert signal.getsignal(notice) is before


def test_a_notice_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert signal.SIGTERM not in listen(end)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_while_modules_load_it_ends_at_once_with_its_own_code() -> None:
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (75, "tailwise: ended by SIGTERM; give the same command again\n")
