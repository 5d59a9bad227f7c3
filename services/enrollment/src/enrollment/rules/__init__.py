"""PURE (but for `sql`, which builds statements and runs none). Whom a rule is about, and how that reads in English."""

from enrollment.rules.conditions import (
    ATTRIBUTES,
    All,
    Any,
    Compare,
    Condition,
    Facts,
    InvalidCondition,
    Not,
    matches,
    parse,
    sentence,
    to_json,
)
from enrollment.rules.index import RuleIndex

__all__ = [
    "ATTRIBUTES",
    "All",
    "Any",
    "Compare",
    "Condition",
    "Facts",
    "InvalidCondition",
    "Not",
    "RuleIndex",
    "matches",
    "parse",
    "sentence",
    "to_json",
]
