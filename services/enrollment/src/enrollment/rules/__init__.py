"""PURE (but for `sql`, which builds statements and runs none). Whom a rule is about, and how that reads in English."""

from enrollment.rules.conditions import (
    ATTRIBUTES,
    DATES,
    JOB,
    All,
    Any,
    Compare,
    Condition,
    Facts,
    InvalidCondition,
    Not,
    matches,
    operators_of,
    parse,
    sentence,
    to_json,
)
from enrollment.rules.index import RuleIndex

__all__ = [
    "ATTRIBUTES",
    "DATES",
    "JOB",
    "All",
    "Any",
    "Compare",
    "Condition",
    "Facts",
    "InvalidCondition",
    "Not",
    "RuleIndex",
    "matches",
    "operators_of",
    "parse",
    "sentence",
    "to_json",
]
