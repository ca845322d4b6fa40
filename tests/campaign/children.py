"""What the processes of a campaign have in common."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_the_driver():
    """Be killed when the driver ends in whatever way; one that is stopped does not see that its input has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
