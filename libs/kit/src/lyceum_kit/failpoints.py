"""Places where a test may kill or freeze this process at the very moment that matters.

`LYCEUM_FAILPOINT=relay.sent:0.05` dies there with 5 % chance, `consumer.polled:1:STOP` freezes there, once. Free when
unset. Used by the fault suite only: random kills from outside almost never hit such a moment.
"""

import os
import random
import signal

_NAME, _, _HOW = os.environ.get("LYCEUM_FAILPOINT", "").partition(":")

if _NAME:
    _CHANCE, _, _SIGNAL = _HOW.partition(":")
    _armed = True

    def failpoint(name: str) -> None:
        global _armed  # noqa: PLW0603 - a process that was frozen goes on, and is not frozen again
        if _armed and name == _NAME and random.random() < float(_CHANCE or 1):  # noqa: S311
            _armed = False
            os.kill(os.getpid(), signal.Signals[f"SIG{_SIGNAL or 'KILL'}"])

else:

    def failpoint(name: str) -> None:  # noqa: ARG001
        return
