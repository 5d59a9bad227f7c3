"""PURE. A learning path: courses in order, some of which wait for others. Published in numbered versions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from catalog.errors import PathInvalid, PrerequisiteCycle
from lyceum.catalog.v1.events_pb2 import PathItem, PathPublished

MAX_COURSES = 100


@dataclass(frozen=True)
class Path:
    published: PathPublished | None = None

    @property
    def version(self) -> int:
        return self.published.path_version if self.published else 0


@dataclass(frozen=True)
class PublishPath:
    """`takeable`: ids of the courses that are published and not deprecated."""

    path_id: str
    title: str
    slug: str
    summary: str
    items: Sequence[PathItem]
    takeable: Collection[str]


def evolve(state: Path, event: Message) -> Path:
    return Path(event) if isinstance(event, PathPublished) else state


def decide(state: Path, command: PublishPath) -> list[Message]:
    check_items(command.items, command.takeable)
    event = PathPublished(
        path_id=command.path_id, path_version=state.version + 1, title=command.title, slug=command.slug,
        summary=command.summary, items=command.items,
    )  # fmt: skip
    if state.published is not None:
        before = PathPublished()
        before.CopyFrom(state.published)
        before.path_version = event.path_version
        if before == event:
            return []
    return [event]


def check_items(items: Sequence[PathItem], takeable: Collection[str]) -> None:
    """Refuse a path that could not be walked to its end."""
    if not items:
        raise PathInvalid("A path needs at least one course")
    if len(items) > MAX_COURSES:
        raise PathInvalid(f"A path has at most {MAX_COURSES} courses, not {len(items)}")
    ids = [item.course_id for item in items]
    if len(set(ids)) != len(ids):
        raise PathInvalid("A course is in the path twice")
    unknown = sorted(set(ids) - set(takeable))
    if unknown:
        raise PathInvalid(f"Not a published course: {', '.join(unknown)}", course_ids=unknown)
    for item in items:
        strangers = sorted(set(item.prerequisite_course_ids) - set(ids))
        if strangers:
            raise PathInvalid(f"{item.course_id} waits for {', '.join(strangers)}, which is not in the path")
    cycle = find_cycle({item.course_id: list(item.prerequisite_course_ids) for item in items})
    if cycle:
        raise PrerequisiteCycle(f"These courses wait for each other: {' → '.join(cycle)}", course_ids=cycle)


def find_cycle(waits_for: Mapping[str, Sequence[str]]) -> list[str]:
    """Some cycle, first element repeated at its end; empty when there is none."""
    done: set[str] = set()
    for start in waits_for:
        trail: list[str] = []
        stack = [(start, iter(waits_for[start]))] if start not in done else []
        while stack:
            course, rest = stack[-1]
            if not trail or trail[-1] != course:
                trail.append(course)
            following = next(rest, None)
            if following is None:
                stack.pop()
                trail.pop()
                done.add(course)
            elif following in trail:
                return [*trail[trail.index(following) :], following]
            elif following not in done:
                stack.append((following, iter(waits_for.get(following, ()))))
    return []
