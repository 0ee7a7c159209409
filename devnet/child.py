"""Start a program that ends when its parent does: `python child.py PROGRAM ARGUMENT...`.

Asks Linux for SIGTERM at the parent's death and becomes the program. Run by path, without the
site module, so that it costs a few milliseconds and no import of this package.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(os.environ.pop("RESCIND_PARENT", os.getppid())):
        sys.exit("the parent ended before the child began")


if __name__ == "__main__":
    _end_with_parent()
    os.execvp(sys.argv[1], sys.argv[1:])
