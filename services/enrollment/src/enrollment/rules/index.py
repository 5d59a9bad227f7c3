"""PURE. Which rules a person matches, without trying every rule.

Most conditions demand an equality ("department is Engineering"). A rule is filed under the (attribute, value) pairs one
of which a person must have for it to match, choosing the demand with the fewest rules filed alike; rules without any
demand are tried for everybody. What the index finds is always confirmed by `matches`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from enrollment.rules.conditions import All, Any, Compare, Condition, Facts, Not, matches

R = TypeVar("R")
Pair = tuple[str, str]
Demand = frozenset[Pair]  # one of these must hold


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


@dataclass(frozen=True)
class RuleIndex(Generic[R]):
    """Built once for a set of rules; `find` is then cheap for each person."""

    filed: Mapping[Pair, tuple[tuple[R, Condition], ...]] = field(
        default_factory=dict[Pair, "tuple[tuple[R, Condition], ...]"]
    )
    unfiled: tuple[tuple[R, Condition], ...] = ()
    attributes: tuple[str, ...] = ()

    @classmethod
    def of(cls, rules: Iterable[tuple[R, Condition]]) -> "RuleIndex[R]":
        rules = list(rules)
        wanted = [demands(condition) for _, condition in rules]
        popular = Counter(pair for choices in wanted for demand in choices for pair in demand)
        filed: dict[Pair, list[tuple[R, Condition]]] = {}
        unfiled: list[tuple[R, Condition]] = []
        for rule, choices in zip(rules, wanted, strict=True):
            if not choices:
                unfiled.append(rule)
                continue
            best = min(choices, key=lambda demand: sum(popular[pair] for pair in demand))
            for pair in best:
                filed.setdefault(pair, []).append(rule)
        return cls(
            {pair: tuple(some) for pair, some in filed.items()},
            tuple(unfiled),
            tuple(sorted({attribute for attribute, _ in filed})),
        )

    def find(self, facts: Facts) -> list[R]:
        """The rules that match. A rule is filed under several values of one attribute or of several; found once."""
        found: list[R] = [rule for rule, condition in self.unfiled if matches(condition, facts)]
        seen: set[int] = set()
        for attribute in self.attributes:
            for entry in self.filed.get((attribute, facts.get(attribute, "")), ()):
                if id(entry) not in seen and matches(entry[1], facts):
                    seen.add(id(entry))
                    found.append(entry[0])
        return found
