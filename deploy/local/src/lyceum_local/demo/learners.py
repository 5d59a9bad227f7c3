"""PURE: how each person learns. The same person always decides alike, so that a run that was cut short goes on."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lyceum_local.demo.lessons import Check, Sco

Answer = str | float | list[str]


@dataclass(frozen=True)
class Temper:
    """`name` is the seed of everything that chance decides."""

    name: str
    zeal: float  # how likely a module is begun, and a package not left half-way
    skill: float  # how likely the first answer to a question is right
    tenacity: float  # how likely somebody who failed tries again
    pauses: float = 0.2  # how likely a package takes two sittings
    later: frozenset[str] = frozenset()  # courses not begun while the demo runs


# Who is hired while the demo runs. Ada fails the assessment once, then passes: a test holds her to it. The course she
# chose herself is left for whoever signs in as her; Alan is on his way to another department.
CHOSEN = "code-of-conduct"
ADA = Temper("ADA", zeal=1, skill=0.7, tenacity=1, pauses=1, later=frozenset({CHOSEN}))
ALAN = Temper("ALAN", zeal=1, skill=1, tenacity=1, later=frozenset({"secure-coding-basics"}))

# Departments differ, as they do anywhere.
_ZEAL = {"Engineering": 0.05, "Sales": -0.12, "Nursing": 0.04, "Operations": -0.05, "Finance": 0.0}
_SKILL = {"Engineering": 0.06, "Sales": -0.08, "Nursing": 0.05, "Operations": -0.02, "Finance": 0.02}


def temper(external_id: str, department: str, *, late: bool) -> Temper:
    """`late`: did not finish in the learning system before, and is not much quicker here."""
    chance = random.Random(f"temper/{external_id}")  # noqa: S311 - a data set, not a secret
    absent = chance.random() < (0.5 if late else 0.26)  # busy, on leave, or just not there yet
    zeal = (chance.uniform(0.82, 0.99) + _ZEAL[department]) * (0.7 if late else 1)
    skill = chance.triangular(0.4, 1.0, 0.78) + _SKILL[department]
    return Temper(external_id, 0 if absent else min(zeal, 1), min(skill, 1), chance.uniform(0.55, 0.95))


def willing(listed: Sequence[Mapping[str, Any]], late: Collection[str]) -> dict[str, Temper]:
    """Who learns at all while the demo runs, by employee number. The new ones come first."""
    found = {"ADA": ADA, "ALAN": ALAN}
    for person in listed:
        key = person["external_id"]
        found[key] = temper(key, person["department"], late=key in late)
    return {key: who for key, who in found.items() if who.zeal}


def _chance(who: Temper, *about: object) -> random.Random:
    return random.Random("/".join(map(str, (who.name, *about))))  # noqa: S311


def begins(who: Temper, course: str, module: int) -> bool:
    return course not in who.later and _chance(who, "begins", course, module).random() < who.zeal


def leaves(who: Temper, course: str, module: int) -> bool:
    """Whether a package is left for good, unfinished."""
    return _chance(who, "leaves", course, module).random() >= who.zeal


def leaves_at(who: Temper, course: str, module: int, sco: Sco) -> int:
    """After how many pages."""
    return _chance(who, "leaves at", course, module).randrange(1, len(sco.pages))


def pauses_at(who: Temper, course: str, module: int, sco: Sco) -> int | None:
    """After how many pages the first sitting ends, to be resumed."""
    chance = _chance(who, "pauses", course, module)
    if chance.random() >= who.pauses:
        return None
    return chance.randrange(1, len(sco.pages))


def seconds(who: Temper, course: str, module: int, page: str) -> int:
    """How long a page is read."""
    return _chance(who, "reads", course, module, page).randint(25, 140)


def choose(who: Temper, check: Check) -> str:
    chance = _chance(who, "check", check.name)
    if chance.random() < who.skill:
        return check.right
    return chance.choice([c for c in check.choices if c != check.right])


def percent(sco: Sco, chosen: Mapping[str, str]) -> int:
    checks = sco.checks
    right = sum(chosen.get(check.name) == check.right for check in checks)
    return round(100 * right / len(checks)) if checks else 100


def mended(sco: Sco, chosen: Mapping[str, str]) -> dict[str, str]:
    """A package is finished once its checks suffice: wrong ones are answered again until they do."""
    answers = dict(chosen)
    for check in sco.checks:
        if sco.needed is not None and percent(sco, answers) < sco.needed:
            answers[check.name] = check.right
    return answers


def tries_again(who: Temper, course: str, module: int, attempt: int) -> bool:
    return _chance(who, "again", course, module, attempt).random() < who.tenacity


def answer(who: Temper, question: Mapping[str, Any], attempt: int) -> Answer:
    """To a question of a quiz. Who failed has learned something: each attempt halves what is still wrong."""
    chance = _chance(who, "answer", question["question_id"], attempt)
    right = chance.random() < 1 - (1 - who.skill) * 0.5 ** (attempt - 1)
    options = [(o["id"], o["correct"]) for o in question.get("options", ())]
    match question["type"]:
        case "multiple_choice":
            return chance.choice([name for name, correct in options if correct == right])
        case "multiple_response":
            ticked = [name for name, correct in options if correct]
            # Half right is the usual way to be wrong: one too few, or one too many.
            return ticked if right else _other(chance, ticked, [n for n, correct in options if not correct])
        case "numeric":
            value = float(question["value"])
            return value if right else value * chance.choice([0.1, 2, 10]) + 1
        case "short_text":
            return question["accepted"][0] if right else "I would have to look that up"
        case kind:
            raise ValueError(f"a question of kind {kind!r}")


def _other(chance: random.Random, ticked: list[str], wrong: list[str]) -> list[str]:
    if len(ticked) > 1 and chance.random() < 0.5:
        return sorted(set(ticked) - {chance.choice(ticked)})
    return sorted([*ticked, chance.choice(wrong)]) if wrong else ticked[:-1]
