"""Places where a test may kill this process: `LYCEUM_FAILPOINT=relay.sent:0.05` dies there with 5 % chance.

Free when unset. Used by the fault suite only: random kills from outside almost never hit the moments that matter.
"""

import os
import random
import signal

_NAME, _, _CHANCE = os.environ.get("LYCEUM_FAILPOINT", "").partition(":")

if _NAME:

    def failpoint(name: str) -> None:
        if name == _NAME and random.random() < float(_CHANCE or 1):  # noqa: S311
            os.kill(os.getpid(), signal.SIGKILL)

else:

    def failpoint(name: str) -> None:  # noqa: ARG001
        return
