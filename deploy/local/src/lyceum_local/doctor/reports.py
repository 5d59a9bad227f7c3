"""PURE: what a service's own report of its feeds, relay, timers and parked events tells of its health."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Report = Mapping[str, Any]

RELAY_SECONDS = 15.0  # until an event is numbered; a second is usual
RUNBOOKS = "docs/operations/runbooks.md"


@dataclass(frozen=True)
class Finding:
    what: str
    fine: bool
    told: str
    advice: str = ""


def feeds(service: str, report: Report) -> Finding:
    """Whether it goes on, as far as one report tells."""
    consumers = report["consumers"]
    alarms = [f"{c['feed']}/{c['partition']}: {c['alarm']}" for c in consumers if c.get("alarm")]
    silent = sorted({c["feed"] for c in consumers if c["lag"] is None})
    wrong = alarms + [f"the producer of {feed} does not tell how far it is" for feed in silent]
    told = "; ".join([f"{sum(c['lag'] or 0 for c in consumers)} events behind", *wrong])
    advice = (
        "a message names what to do, and its partition stands still until then; a producer has to be ready"
    )
    return Finding(f"{service} feeds", not wrong, told, advice)


def parked(service: str, report: Report) -> Finding:
    waiting: Sequence[Any] = report.get("parked") or []
    advice = f"./lyceum parked list, then replay or discard them ({service})"
    return Finding(f"{service} parked", not waiting, f"{len(waiting)} events", advice)


def judged(service: str, before: Report, now: Report) -> Iterator[Finding]:
    """From two reports some seconds apart: what is behind is well as long as it moves."""
    yield feeds(service, now)
    stuck = sorted(f"{feed}/{partition}" for feed, partition in _stuck(before, now))
    told = f"{len(stuck)} partitions wait and do not move: {', '.join(stuck)}" if stuck else "moves"
    if why := now.get("consumer_error"):
        told = f"{told}; {why}"
    yield Finding(
        f"{service} consumer",
        not stuck and not why,
        told,
        f"{RUNBOOKS}#lyceumconsumerstands, in a moment again",
    )
    yield _relay(service, before, now)
    yield parked(service, now)
    timers: Mapping[str, int] = now.get("timers") or {}
    late, failed = timers.get("late", 0), timers.get("failed", 0)
    yield Finding(
        f"{service} timers",
        not late and not failed,
        f"{late} late, {failed} failed",
        f"{RUNBOOKS}#lyceumtimerslate",
    )


def _relay(service: str, before: Report, now: Report) -> Finding:
    relay: Mapping[str, Any] = now["relay"]
    age, unsent = float(relay.get("oldest_age_s") or 0), int(relay.get("unsent") or 0)
    stands = bool(unsent) and bool(before["relay"].get("unsent")) and _sent(before) == _sent(now)
    told = f"{relay['outbox']} events to number, the oldest for {age:.0f} s; {unsent} to send"
    if relay["error"]:
        told = f"{told}; {relay['error']}"
    section = "lyceumeventsunsent" if stands and age <= RELAY_SECONDS else "lyceumrelaystands"
    well = age <= RELAY_SECONDS and not stands and not relay["error"]
    return Finding(f"{service} relay", well, told, f"{RUNBOOKS}#{section}")


def _sent(report: Report) -> int:
    return sum(feed["sent"] for feed in report["feeds"])


def _stuck(before: Report, now: Report) -> list[tuple[str, int]]:
    """Partitions that had something to read, have it still, and read none of it."""
    waited = {(c["feed"], c["partition"]): c["next"] for c in before["consumers"] if c.get("lag")}
    return [
        (c["feed"], c["partition"])
        for c in now["consumers"]
        if c.get("lag") and waited.get((c["feed"], c["partition"])) == c["next"]
    ]
