"""Child processes that end with their parent, however that ends, and run as somebody else where root starts them.

`subprocess` could do both by `preexec_fn` and `user`, but then it forks: where gRPC has threads, its handlers of a fork
abort the copy or hang it, once in some hundred times, and a server never comes up or Popen never returns. Without them
it is vfork and exec, which run nothing in the copy; a fresh interpreter runs this file as a script and does the rest.
"""

import ctypes
import errno
import os
import pwd
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # prctl(2)


def bound(command: Sequence[str | Path], stop: signal.Signals, *, user: str | None = None) -> list[str]:
    """`command` for a child of this process: the kernel sends it `stop` when the thread that started it ends, Linux only.
    `user`: whom it runs as, with that user's groups; None: whoever calls. FileNotFoundError where there is no such
    program."""
    if (program := shutil.which(command[0])) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(command[0]))
    launcher = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(stop)), user or ""]
    return [*launcher, program, *map(str, command[1:])]


def _become(parent: int, stop: int, user: str, command: list[str]) -> None:
    """This process, from here on."""
    # Before root is dropped: another user may not be able to read Python's own files.
    libc = ctypes.CDLL(None)
    if user:
        other = pwd.getpwnam(user)
        os.initgroups(user, other.pw_gid)
        os.setgid(other.pw_gid)
        os.setuid(other.pw_uid)
    if sys.platform == "linux":
        libc.prctl(PR_SET_PDEATHSIG, stop, 0, 0, 0)  # a change of user would clear it
        if os.getppid() != parent:
            return  # it ended before we asked
    os.execv(command[0], command)  # noqa: S606 - this is what it is for


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
