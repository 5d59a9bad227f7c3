"""A `person.Record` as the database keeps it."""

from datetime import date, datetime
from typing import Any

from identity.person import Described, Leaves, PersonFacts, Profile, Record


def record_to_json(record: Record) -> dict[str, Any]:
    def described(s: Described) -> dict[str, Any]:
        # Not asdict, which copies deeply: a fifth of the time of a listing of thousands.
        facts = {**vars(s.facts), "hire_date": s.facts.hire_date and s.facts.hire_date.isoformat()}
        return {
            "said_at": s.said_at.isoformat(),
            "effective_on": s.effective_on and s.effective_on.isoformat(),
            "hires": s.hires,
            "facts": facts,
            "profile": dict(vars(s.profile)),
        }

    # The newest word is nearly always the one that holds.
    only = record.newest is not None and record.described == (record.newest,)
    some = [described(s) for s in record.described]
    return {
        "described": some,
        "newest": some[0] if only else record.newest and described(record.newest),
        "hired_at": record.hired_at and record.hired_at.isoformat(),
        "leaves": record.leaves
        and {
            "said_at": record.leaves.said_at.isoformat(),
            "effective_on": record.leaves.effective_on and record.leaves.effective_on.isoformat(),
            "reason": record.leaves.reason,
        },
    }


def record_from_json(data: dict[str, Any]) -> Record:
    def day(value: str | None) -> date | None:
        return date.fromisoformat(value) if value else None

    def described(s: dict[str, Any]) -> Described:
        facts: dict[str, Any] = {**s["facts"], "hire_date": day(s["facts"]["hire_date"])}
        return Described(
            said_at=datetime.fromisoformat(s["said_at"]),
            effective_on=day(s["effective_on"]),
            hires=s["hires"],
            facts=PersonFacts(**facts),
            profile=Profile(**s["profile"]),
        )

    leaves = data.get("leaves")
    return Record(
        described=tuple(described(s) for s in data.get("described", [])),
        newest=described(data["newest"]) if data.get("newest") else None,
        hired_at=datetime.fromisoformat(data["hired_at"]) if data.get("hired_at") else None,
        leaves=Leaves(
            datetime.fromisoformat(leaves["said_at"]), day(leaves["effective_on"]), leaves["reason"]
        )
        if leaves
        else None,
    )
