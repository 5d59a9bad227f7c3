"""PURE. Conditions over a person's HR attributes: a small typed tree, read from JSON, shown as a sentence.

    {"all": [{"attribute": "department", "operator": "is", "value": "Engineering"},
             {"attribute": "location", "operator": "in", "value": ["Berlin", "Munich"]}]}

A missing attribute is the empty string, in Python as in SQL: `is ""` finds people without one, `is_not "Sales"` finds
them too. A date operator never matches a missing or malformed date, so `not before` is more than `on_or_after`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any as Json
from typing import Literal, cast, get_args

from enrollment.dates import parse_date
from lyceum.identity.v1.events_pb2 import Job

MAX_DEPTH = 8
MAX_NODES = 200
MAX_VALUES = 500
MAX_TEXT = 200

TextOperator = Literal["is", "is_not", "in", "not_in", "starts_with"]
DateOperator = Literal["before", "after", "on_or_before", "on_or_after"]
Operator = TextOperator | DateOperator

# What HR says about a job, so that a new field of the contract is an attribute of rules at once: job_title, manager_id.
JOB = tuple(f.name for f in Job.DESCRIPTOR.fields if f.cpp_type == f.CPPTYPE_STRING and not f.is_repeated)
# Attribute → how a sentence names it: job title, manager.
ATTRIBUTES: Mapping[str, str] = {
    **{name: name.removesuffix("_id").replace("_", " ") for name in JOB},
    "status": "employment status",
}
DATES = frozenset(name for name in JOB if name.endswith("_date"))
TEXT_OPERATORS = frozenset(get_args(TextOperator))
DATE_OPERATORS = frozenset(get_args(DateOperator))
LISTS = frozenset({"in", "not_in"})

Facts = Mapping[str, str]  # attribute → value


class InvalidCondition(ValueError):
    """`path` leads to the bad node, for example "condition.all[1].value"."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


@dataclass(frozen=True)
class Compare:
    attribute: str
    operator: Operator
    values: tuple[str, ...]  # one, except for `in` and `not_in`


@dataclass(frozen=True)
class All:
    of: tuple["Condition", ...]


@dataclass(frozen=True)
class Any:
    of: tuple["Condition", ...]


@dataclass(frozen=True)
class Not:
    of: "Condition"


Condition = Compare | All | Any | Not


def operators_of(attribute: str) -> frozenset[str]:
    """What a comparison of this attribute may say."""
    return TEXT_OPERATORS | DATE_OPERATORS if attribute in DATES else TEXT_OPERATORS


# Reading


def parse(tree: Json, *, at: str = "condition") -> Condition:
    """The typed tree of decoded JSON, or InvalidCondition that names the node."""
    condition, nodes = _parse(tree, at, 1)
    if nodes > MAX_NODES:
        raise InvalidCondition(at, f"has {nodes} parts, more than {MAX_NODES}")
    return condition


def _parse(tree: Json, at: str, depth: int) -> tuple[Condition, int]:
    if depth > MAX_DEPTH:
        raise InvalidCondition(at, f"is nested deeper than {MAX_DEPTH}")
    if not isinstance(tree, dict):
        raise InvalidCondition(at, "must be an object")
    node = cast("dict[Json, Json]", tree)
    keys = {str(key) for key in node}
    if keys in ({"all"}, {"any"}):
        word = keys.pop()
        parts = node[word]
        if not isinstance(parts, list) or not parts:
            raise InvalidCondition(f"{at}.{word}", "must be a list with at least one condition")
        items = cast("list[Json]", parts)
        if len(items) > MAX_NODES:
            raise InvalidCondition(f"{at}.{word}", f"has more than {MAX_NODES} parts")
        read = [_parse(part, f"{at}.{word}[{n}]", depth + 1) for n, part in enumerate(items)]
        of = tuple(condition for condition, _ in read)
        return (All(of) if word == "all" else Any(of)), 1 + sum(nodes for _, nodes in read)
    if keys == {"not"}:
        inner, nodes = _parse(node["not"], f"{at}.not", depth + 1)
        return Not(inner), 1 + nodes
    if keys == {"attribute", "operator", "value"}:
        return _compare(node, at), 1
    raise InvalidCondition(
        at, 'must have exactly one of "all", "any", "not", or "attribute", "operator" and "value"'
    )


def _compare(node: Mapping[Json, Json], at: str) -> Compare:
    attribute, operator, value = node["attribute"], node["operator"], node["value"]
    if not isinstance(attribute, str) or attribute not in ATTRIBUTES:
        raise InvalidCondition(f"{at}.attribute", f"must be one of {', '.join(ATTRIBUTES)}")
    known = operators_of(attribute)
    if not isinstance(operator, str) or operator not in known:
        raise InvalidCondition(f"{at}.operator", f"must be one of {', '.join(sorted(known))}")
    if operator in LISTS:
        if not isinstance(value, list) or not value:
            raise InvalidCondition(f"{at}.value", "must be a list with at least one text")
        given = cast("list[Json]", value)
        if len(given) > MAX_VALUES:
            raise InvalidCondition(f"{at}.value", f"has more than {MAX_VALUES} texts")
        values = tuple(dict.fromkeys(_text(v, f"{at}.value[{n}]") for n, v in enumerate(given)))
    else:
        values = (_text(value, f"{at}.value"),)
    if operator in DATE_OPERATORS and parse_date(values[0]) is None:
        raise InvalidCondition(f"{at}.value", "must be a date such as 2026-11-24")
    if operator == "starts_with" and not values[0]:
        raise InvalidCondition(f"{at}.value", "must not be empty")
    return Compare(attribute, cast("Operator", operator), values)


def _text(value: Json, at: str) -> str:
    if not isinstance(value, str):
        raise InvalidCondition(at, "must be a text")
    if len(value) > MAX_TEXT:
        raise InvalidCondition(at, f"is longer than {MAX_TEXT} characters")
    if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise InvalidCondition(at, "has a character that cannot be stored")
    return value


def to_json(condition: Condition) -> dict[str, Json]:
    """What `parse` reads."""
    match condition:
        case All(of):
            return {"all": [to_json(c) for c in of]}
        case Any(of):
            return {"any": [to_json(c) for c in of]}
        case Not(of):
            return {"not": to_json(of)}
        case Compare(attribute, operator, values):
            value: Json = list(values) if operator in LISTS else values[0]
            return {"attribute": attribute, "operator": operator, "value": value}


# Deciding


def matches(condition: Condition, facts: Facts) -> bool:
    """Whether a person with these attributes is meant."""
    match condition:
        case All(of):
            return all(matches(c, facts) for c in of)
        case Any(of):
            return any(matches(c, facts) for c in of)
        case Not(of):
            return not matches(of, facts)
        case Compare():
            return _holds(condition, facts.get(condition.attribute, ""))


def _holds(test: Compare, fact: str) -> bool:
    value = test.values[0]
    match test.operator:
        case "is":
            return fact == value
        case "is_not":
            return fact != value
        case "in":
            return fact in test.values
        case "not_in":
            return fact not in test.values
        case "starts_with":
            return fact.startswith(value)
        case "before" | "after" | "on_or_before" | "on_or_after":
            return parse_date(fact) is not None and _in_order(test.operator, fact, value)


def _in_order(operator: DateOperator, fact: str, value: str) -> bool:
    # ISO dates of four-digit years sort as text, here as in SQL.
    match operator:
        case "before":
            return fact < value
        case "after":
            return fact > value
        case "on_or_before":
            return fact <= value
        case "on_or_after":
            return fact >= value


# Saying


_WORDS: Mapping[str, str] = {
    "is": "is",
    "in": "is",
    "is_not": "is not",
    "not_in": "is neither",
    "starts_with": "starts with",
    "before": "is before",
    "after": "is after",
    "on_or_before": "is on or before",
    "on_or_after": "is on or after",
}


def sentence(condition: Condition) -> str:
    """In plain English, for example "department is Engineering and location is Berlin or Munich"."""
    match condition:
        case All(of):
            return _joined("and", of)
        case Any(of):
            return _joined("or", of)
        case Not(of):
            return f"not ({sentence(of)})"
        case Compare(attribute, operator, values):
            if values == ("",):
                return f"{ATTRIBUTES[attribute]} {'is not missing' if 'not' in operator else 'is missing'}"
            if operator == "not_in" and len(values) == 1:
                return f"{ATTRIBUTES[attribute]} is not {_said(values, 'or')}"
            return f"{ATTRIBUTES[attribute]} {_WORDS[operator]} {_said(values, 'nor' if operator == 'not_in' else 'or')}"


def _joined(word: str, of: Sequence[Condition]) -> str:
    if len(of) == 1:
        return sentence(of[0])
    return f" {word} ".join(f"({sentence(c)})" if _mixes(c) else sentence(c) for c in of)


def _mixes(condition: Condition) -> bool:
    """Whether it needs brackets beside an and or an or: lists of values have an "or" of their own but read well."""
    return isinstance(condition, All | Any) and len(condition.of) > 1


def _said(values: Sequence[str], word: str) -> str:
    said = [v or "missing" for v in values]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} {word} {said[-1]}"
