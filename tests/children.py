"""Child processes of tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def forked(work: Callable[[], object], seconds: int) -> int:
    """Return the exit status of a forked child that does some work, or the signal that ends it.

    After so many seconds the child is ended by SIGALRM.
    """
    pid = os.fork()
    if not pid:
        signal.alarm(seconds)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
