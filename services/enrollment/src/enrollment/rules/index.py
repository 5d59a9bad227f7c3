"""PURE. Which rules a person matches, without trying every rule.

Most conditions demand equalities ("department is Engineering and job title is Nurse"). A rule is filed under the
(attribute, value) pairs that a person must have together for it to match, starting with the demands that the fewest
rules share; rules without any demand are filed under no pairs, and tried for everybody. What the index finds is always
confirmed by `matches`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from enrollment.rules.conditions import All, Any, Compare, Condition, Facts, Not, matches

R = TypeVar("R")
Pair = tuple[str, str]
Demand = frozenset[Pair]  # one of these must hold
Key = frozenset[Pair]  # all of these must hold

TOGETHER = 3  # demands
MOST_KEYS = 32  # of a rule


def demands(condition: Condition) -> list[Demand]:
    """Sets of pairs; of each set, a matching person has at least one. No set: nothing can be said."""
    match condition:
        case Compare(attribute, "is" | "in", values):
            return [frozenset((attribute, value) for value in values)]
        case Compare() | Not():
            return []
        case All(of):
            return [demand for c in of for demand in demands(c)]
        case Any(of):
            each = [demands(c) for c in of]
            if not all(each):
                return []  # one branch takes anybody
            return [frozenset[Pair]().union(*(min(choices, key=len) for choices in each))]


def keys(wanted: Iterable[Demand]) -> set[Key]:
    """The combinations of pairs, one of each demand, under which a rule is filed: as many demands as make a few."""
    found: set[Key] = {frozenset()}
    for demand in wanted:
        longer = {key | {pair} for key in found for pair in demand}
        # Nobody has two departments at once.
        possible = {key for key in longer if len({attribute for attribute, _ in key}) == len(key)}
        if len(possible) > MOST_KEYS and found != {frozenset[Pair]()}:
            continue
        found = possible
    return found


@dataclass(frozen=True)
class RuleIndex(Generic[R]):
    """Built once for a set of rules; `find` is then cheap for each person."""

    # By the attributes that matter together, then by a person's values of them.
    filed: Mapping[tuple[str, ...], Mapping[tuple[str, ...], Sequence[tuple[R, Condition]]]] = field(
        default_factory=dict[tuple[str, ...], "Mapping[tuple[str, ...], Sequence[tuple[R, Condition]]]"]
    )

    @classmethod
    def of(cls, rules: Iterable[tuple[R, Condition]]) -> "RuleIndex[R]":
        rules = list(rules)
        wanted = [demands(condition) for _, condition in rules]
        popular = Counter(pair for choices in wanted for demand in choices for pair in demand)
        filed: dict[tuple[str, ...], dict[tuple[str, ...], list[tuple[R, Condition]]]] = {}
        for rule, choices in zip(rules, wanted, strict=True):
            choices.sort(key=lambda demand: sum(popular[pair] for pair in demand))
            for key in keys(choices[:TOGETHER]):
                pairs = sorted(key)
                by_values = filed.setdefault(tuple(attribute for attribute, _ in pairs), {})
                by_values.setdefault(tuple(value for _, value in pairs), []).append(rule)
        return cls(filed)

    def find(self, facts: Facts) -> list[R]:
        """The rules that match. A rule may be filed under several keys that a person has; found once."""
        found: list[R] = []
        seen: set[int] = set()
        for attributes, by_values in self.filed.items():
            for entry in by_values.get(tuple(facts.get(a, "") for a in attributes), ()):
                if id(entry) not in seen and matches(entry[1], facts):
                    seen.add(id(entry))
                    found.append(entry[0])
        return found
