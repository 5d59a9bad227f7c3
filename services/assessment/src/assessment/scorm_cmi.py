"""The SCORM 1.2 data model as it crosses the wire. PURE: reads, checks and prepares `cmi`, stores nothing.

The shape is that of the JSON the player sends: {"core": {…}, "suspend_data": "…", "interactions": {"0":
{…}}, …}.
"""

import copy
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from assessment.errors import BadCmi, CmiTooLarge

Cmi = dict[str, Any]

# SCORM 1.2 grants 4,096 characters; packages in the wild write up to what 2004 grants.
MAX_SUSPEND_DATA = 64_000
MAX_CMI_BYTES = 400_000  # below what one event may hold, with room for its encryption
MAX_LOCATION = 1_000
STATUSES = frozenset({"not attempted", "incomplete", "completed", "passed", "failed", "browsed"})
_TIME = re.compile(r"(\d{1,4}):([0-5]?\d):([0-5]?\d(?:\.\d{1,2})?)")


@dataclass(frozen=True)
class Reported:
    """What a commit says about progress; the rest of the model only the package understands."""

    lesson_status: str
    score_raw: float | None
    score_percent: float | None
    session_seconds: float
    suspended: bool


def encode(cmi: Cmi) -> bytes:
    """As stored. Raises CmiTooLarge."""
    data = json.dumps(cmi, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    if len(data) > MAX_CMI_BYTES:
        raise CmiTooLarge(f"The run-time data has {len(data)} bytes; {MAX_CMI_BYTES} are allowed")
    return data


def decode(data: bytes) -> Cmi:
    return json.loads(data)


def report(cmi: Cmi) -> Reported:
    """Read and check a commit. Raises BadCmi or CmiTooLarge, so that the package hears "false"."""
    core = _section(cmi, "core")
    suspend_data = _text(cmi, "suspend_data")
    if len(suspend_data) > MAX_SUSPEND_DATA:
        raise CmiTooLarge(f"suspend_data has {len(suspend_data)} characters; {MAX_SUSPEND_DATA} are allowed")
    location = _text(core, "lesson_location")
    if len(location) > MAX_LOCATION:
        raise BadCmi(f"lesson_location has {len(location)} characters; {MAX_LOCATION} are allowed")
    status = _text(core, "lesson_status") or "not attempted"
    if status not in STATUSES:
        raise BadCmi(f"lesson_status is {status!r}")
    score = _section(core, "score")
    raw = _number(score, "raw")
    return Reported(
        lesson_status=status,
        score_raw=raw,
        score_percent=percent(raw, _number(score, "min"), _number(score, "max")),
        session_seconds=seconds(_text(core, "session_time")),
        suspended=_text(core, "exit") == "suspend",
    )


def percent(raw: float | None, low: float | None, high: float | None) -> float | None:
    """A raw score between its bounds as 0 to 100. SCORM 1.2 means 0 to 100 where there are none."""
    if raw is None:
        return None
    low = 0.0 if low is None else low
    high = 100.0 if high is None else high
    if high <= low:
        low, high = 0.0, 100.0
    return min(100.0, max(0.0, (raw - low) / (high - low) * 100))


def seconds(time: str) -> float:
    """A CMITimespan, HHHH:MM:SS.SS, in seconds; none is 0."""
    if not time:
        return 0.0
    match = _TIME.fullmatch(time)
    if not match:
        raise BadCmi(f"session_time is {time[:40]!r}, not HHHH:MM:SS.SS")
    hours, minutes, rest = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def timespan(total: float) -> str:
    """Seconds as HHHH:MM:SS.SS, at most what the format can hold."""
    hundredths = min(round(total * 100), 9999 * 360_000 + 359_999)
    minutes, hundredths = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:04d}:{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"


def to_resume(
    saved: Cmi | None,
    *,
    learner_id: str,
    learner_name: str,
    total_seconds: float,
    lesson_status: str,
    mastery_score: float | None,
    launch_data: str,
) -> Cmi:
    """The model a new session starts with: what was saved, and what only the server may say.

    `exit` and `session_time` belong to the last session: kept, its time would count twice. An unfinished
    attempt is a "resume" also when the tab was closed before the package could say "suspend".
    """
    cmi: Cmi = copy.deepcopy(saved) if saved else {}
    core = _section(cmi, "core")
    suspended = core.pop("exit", "") == "suspend"
    core.pop("session_time", None)
    unfinished = lesson_status in {"not attempted", "incomplete", "browsed"}
    core.update(
        student_id=learner_id,
        student_name=learner_name,
        credit="credit",
        lesson_mode="normal",
        lesson_status=lesson_status,
        entry="ab-initio" if saved is None else "resume" if suspended or unfinished else "",
        total_time=timespan(total_seconds),
    )
    cmi["core"] = core
    cmi["launch_data"] = launch_data
    if mastery_score is not None:
        cmi["student_data"] = {**_section(cmi, "student_data"), "mastery_score": f"{mastery_score:g}"}
    return cmi


def _section(parent: Mapping[str, Any], name: str) -> Cmi:
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadCmi(f"{name} is not an object")
    return cast(Cmi, value)


def _text(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadCmi(f"{name} is not text")
    return value


def _number(parent: Mapping[str, Any], name: str) -> float | None:
    value = parent.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadCmi(f"score.{name} is not a number")
    try:
        number = float(value)
    except ValueError:
        raise BadCmi(f"score.{name} is {str(value)[:40]!r}, not a number") from None
    if not math.isfinite(number):
        raise BadCmi(f"score.{name} is not a number")
    return number
