"""PURE. One assignment rule's life: drafted in versions, activated, retired. Whom it matches is `rules`' matter."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from google.protobuf.message import Message

from enrollment.enrollment import Policy
from enrollment.rules import Condition
from lyceum.enrollment.v1 import events_pb2 as pb


@dataclass(frozen=True)
class Draft:
    """What a rule says. `condition_json` is the tree as it was given."""

    name: str
    condition: Condition
    condition_json: Mapping[str, Any]
    sentence: str
    course_ids: tuple[str, ...]
    path_ids: tuple[str, ...]
    due_in_days: int | None
    on_ground_lost: Policy


@dataclass(frozen=True)
class Rule:
    rule_id: str
    version: int = 0  # the newest drafted
    state: Literal["draft", "active", "retired"] = "draft"
    active_version: int | None = None


@dataclass(frozen=True)
class ActiveRule:
    """A version of a rule as it is applied to people."""

    rule_id: str
    rule_version: int
    draft: Draft


def activate(rule: Rule, by: str) -> list[Message]:
    """The newest version from now on; a retired rule comes back."""
    if rule.active_version == rule.version:
        return []
    return [pb.RuleActivated(rule_id=rule.rule_id, rule_version=rule.version, activated_by=by)]


def retire(rule: Rule, by: str) -> list[Message]:
    if rule.state == "retired":
        return []
    return [pb.RuleRetired(rule_id=rule.rule_id, retired_by=by)]


def draft(rule: Rule, said: Draft, *, condition_text: str, by: str) -> list[Message]:
    return [
        pb.RuleDrafted(
            rule_id=rule.rule_id,
            rule_version=rule.version + 1,
            name=said.name,
            condition=condition_text,
            sentence=said.sentence,
            course_ids=said.course_ids,
            path_ids=said.path_ids,
            due_in_days=said.due_in_days,
            drafted_by=by,
            on_ground_lost=said.on_ground_lost,
        )
    ]


def evolve(rule: Rule, event: Message) -> Rule:
    match event:
        case pb.RuleDrafted():
            state = "active" if rule.active_version is not None else "draft"
            return replace(rule, version=event.rule_version, state=state)
        case pb.RuleActivated():
            return replace(rule, state="active", active_version=event.rule_version)
        case pb.RuleRetired():
            return replace(rule, state="retired", active_version=None)
        case _:
            raise ValueError(f"{event.DESCRIPTOR.name} is no event of a rule")
