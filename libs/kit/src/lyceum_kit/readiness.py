"""When a process that relays and consumes is ready. What fails for a moment is tried again; what lasts turns it red.

A parked event or a partition that stopped red is for a person to settle: `status` and metrics tell it, readiness
does not, since no restart and no other replica would mend it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lyceum_kit.errors import Unavailable
from lyceum_kit.intake import Intake, Partition
from lyceum_kit.wire import Subscription

Ticks = Callable[[], float]
LASTS = 5.0  # seconds
STUCK = 30.0  # seconds without a step, behind what Kafka was sent


@dataclass
class Lasting:
    """Red once the same part has been failing for a while; at once when it has never worked."""

    part: str
    error: Callable[[], str]
    ticks: Ticks = time.monotonic
    _worked: bool = False
    _since: float | None = None

    async def __call__(self) -> None:
        error = self.error()
        if not error:
            self._worked, self._since = True, None
            return
        self._since = self.ticks() if self._since is None else self._since
        seconds = self.ticks() - self._since
        if not self._worked or seconds >= LASTS:
            # The error itself may name hosts and users: it is in `status` and the log.
            raise Unavailable(f"The {self.part} has been failing for {seconds:.0f} s")


@dataclass
class Moving:
    """Red while a partition that this process consumes has events on Kafka and takes none of them."""

    subscription: Subscription
    intake: Intake
    ticks: Ticks = time.monotonic
    _seen: dict[Partition, tuple[int, float]] = field(default_factory=dict[Partition, tuple[int, float]])

    async def __call__(self) -> None:
        now, seen = self.ticks(), self._seen
        self._seen = {}
        for partition in self.subscription.assigned():
            step = self.intake.next_of(partition)
            if step is None or self.intake.states[partition].alarm.startswith("red:"):
                continue
            before, since = seen.get(partition, (step, now))
            stands = before == step and self.intake.behind(partition)
            self._seen[partition] = (step, since if stands else now)
            if now - self._seen[partition][1] >= STUCK:
                raise Unavailable(
                    f"{partition[0]}/{partition[1]} stands at {step}, behind what Kafka was sent"
                )
