"""One function per command. Catalog consumes no events.

create_course      → CourseCreated      save_draft → none        publish_course → CoursePublished
deprecate_course   → CourseDeprecated   publish_path → PathPublished     record_package → PackageImported
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from catalog import course, path, store
from catalog.errors import ModulesInvalid, SlugTaken
from lyceum.catalog.v1.events_pb2 import (
    CoursePublished,
    Module,
    ModuleKind,
    PackageImported,
    PackageItem,
    PathItem,
    PathPublished,
)
from lyceum_kit.errors import NotFound
from lyceum_kit.ledger import Tx

KINDS: Mapping[str, ModuleKind.ValueType] = {
    "scorm12": ModuleKind.MODULE_KIND_SCORM12,
    "quiz": ModuleKind.MODULE_KIND_QUIZ,
    "reading": ModuleKind.MODULE_KIND_READING,
}
KIND_NAMES: Mapping[ModuleKind.ValueType, str] = {kind: name for name, kind in KINDS.items()}


async def create_course(tx: Tx, draft: Mapping[str, Any]) -> UUID:
    """Begin a course. Its modules may come later."""
    await _check_slug(tx, draft["slug"])
    course_id = tx.new_id()
    await _save_draft(tx, course_id, draft)
    command = course.CreateCourse(str(course_id), draft["title"], draft["slug"], draft["summary"], tx.actor)
    tx.append(f"course/{course_id}", course.decide(course.Course(), command), expected=0)
    return course_id


async def save_draft(tx: Tx, id_or_slug: str, draft: Mapping[str, Any]) -> UUID:
    """Replace what the next version will be made of. The slug stays: links and definitions use it."""
    row = await _course(tx, id_or_slug)
    if draft["slug"] != row.slug:
        raise SlugTaken(f"The course is called {row.slug!r} in links, and keeps that name")
    await _save_draft(tx, row.course_id, draft)
    return row.course_id


async def publish_course(tx: Tx, id_or_slug: str) -> CoursePublished:
    """Make a version of the draft, unless the newest version is that already."""
    row = await _course(tx, id_or_slug)
    stream = await tx.load(f"course/{row.course_id}")
    state = _fold(stream.events)
    modules, launchable = await _modules(tx, row.draft["modules"])
    events = course.decide(
        state,
        course.PublishCourse(
            course_id=str(row.course_id),
            title=row.draft["title"],
            slug=row.slug,
            summary=row.draft["summary"],
            language=row.draft["language"],
            duration_minutes=row.draft["duration_minutes"],
            certifying=row.draft["certifying"],
            modules=modules,
            launchable=launchable,
            at=tx.now,
        ),
    )
    tx.append(f"course/{row.course_id}", events, expected=stream.version)
    for event in events:
        assert isinstance(event, CoursePublished)
        await store.save_published(tx.conn, tx.tenant, event)
        return event
    assert state.published is not None
    return state.published


async def deprecate_course(tx: Tx, id_or_slug: str, reason: str) -> None:
    """No new enrolment should name the course; whoever is in it may finish."""
    row = await _course(tx, id_or_slug)
    stream = await tx.load(f"course/{row.course_id}")
    events = course.decide(_fold(stream.events), course.DeprecateCourse(str(row.course_id), reason))
    tx.append(f"course/{row.course_id}", events, expected=stream.version)
    await store.save_deprecated(tx.conn, tx.tenant, row.course_id)


async def create_path(tx: Tx, definition: path.PublishPath) -> PathPublished:
    """Publish a new path's first version. `definition.path_id` is empty; the path gets its id here."""
    owner = await store.path_slug_owner(tx.conn, tx.tenant, definition.slug)
    if owner is not None:
        raise SlugTaken(f"The path {owner} is called {definition.slug!r} already", path_id=str(owner))
    return await _publish_path(tx, tx.new_id(), definition)


async def publish_path(tx: Tx, path_id: UUID, definition: path.PublishPath) -> PathPublished:
    """Publish the next version of a path, unless the newest is that already."""
    owner = await store.path_slug_owner(tx.conn, tx.tenant, definition.slug)
    if owner is not None and owner != path_id:
        raise SlugTaken(f"The path {owner} is called {definition.slug!r} already", path_id=str(owner))
    if await store.path(tx.conn, tx.tenant, str(path_id)) is None:
        raise NotFound()
    return await _publish_path(tx, path_id, definition)


async def record_package(tx: Tx, package: PackageImported) -> None:
    """All files are stored; from now on the package exists."""
    tx.append(f"package/{package.package_id}", [package], expected=0)
    await store.save_package(tx.conn, tx.tenant, package, tx.now)


async def _course(tx: Tx, id_or_slug: str) -> store.CourseRow:
    row = await store.course(tx.conn, tx.tenant, id_or_slug)
    if row is None:
        raise NotFound()
    return row


async def _check_slug(tx: Tx, slug: str) -> None:
    owner = await store.slug_owner(tx.conn, tx.tenant, slug)
    if owner is not None:
        raise SlugTaken(f"The course {owner} is called {slug!r} already", course_id=str(owner))


def _fold(events: Sequence[Any]) -> course.Course:
    state = course.Course()
    for event in events:
        state = course.evolve(state, event)
    return state


async def _save_draft(tx: Tx, course_id: UUID, draft: Mapping[str, Any]) -> None:
    # Ids are given now, so that a module keeps its own from draft to draft and version to version.
    modules = [
        {**module, "module_id": module["module_id"] or str(tx.new_id())} for module in draft["modules"]
    ]
    await store.save_draft(tx.conn, tx.tenant, course_id, {**draft, "modules": modules})


async def _modules(tx: Tx, drafts: Sequence[Mapping[str, Any]]) -> tuple[list[Module], set[tuple[str, str]]]:
    """The draft's modules with what the packages say about them, and everything that could be launched."""
    wanted = {draft["package_id"] for draft in drafts if draft["package_id"]}
    found = await store.packages_of(tx.conn, tx.tenant, [UUID(package_id) for package_id in wanted])
    packages = {package.package_id: package for package in found}
    launchable = {(p.package_id, item.launch_path) for p in found for item in p.items}
    return [_module(draft, packages.get(draft["package_id"] or "")) for draft in drafts], launchable


def _module(draft: Mapping[str, Any], package: PackageImported | None) -> Module:
    module = Module(
        module_id=draft["module_id"], title=draft["title"], kind=KINDS[draft["kind"]], text=draft["text"],
        quiz_id=draft["quiz_id"] or "", package_id=draft["package_id"] or "", launch_path=draft["launch_path"],
    )  # fmt: skip
    if package is None:
        return module
    item = _item(package, draft)
    module.launch_path = item.launch_path
    module.launch_data = item.launch_data
    module.complete_on_view = not item.sco
    if item.HasField("mastery_score"):
        module.mastery_score = item.mastery_score
    return module


def _item(package: PackageImported, draft: Mapping[str, Any]) -> PackageItem:
    """The item a module launches: the one it names, or the only one."""
    if not draft["launch_path"] and len(package.items) > 1:
        raise ModulesInvalid(
            f"The module {draft['title']!r} must name a launch_path: its package has {len(package.items)} items"
        )
    for item in package.items:
        if draft["launch_path"] in ("", item.launch_path):
            return item
    raise ModulesInvalid(
        f"The module {draft['title']!r} launches {draft['launch_path']!r}, which is no item of its package"
    )


async def _publish_path(tx: Tx, path_id: UUID, definition: path.PublishPath) -> PathPublished:
    stream = await tx.load(f"path/{path_id}")
    state = path.Path()
    for event in stream.events:
        state = path.evolve(state, event)
    courses = [UUID(item.course_id) for item in definition.items]
    command = path.PublishPath(
        path_id=str(path_id),
        title=definition.title,
        slug=definition.slug,
        summary=definition.summary,
        items=definition.items,
        takeable=await store.takeable(tx.conn, tx.tenant, courses),
    )
    events = path.decide(state, command)
    tx.append(f"path/{path_id}", events, expected=stream.version)
    for event in events:
        assert isinstance(event, PathPublished)
        await store.save_path(tx.conn, tx.tenant, event)
        return event
    assert state.published is not None
    return state.published


def path_definition(title: str, slug: str, summary: str, items: Sequence[PathItem]) -> path.PublishPath:
    """A path as an author sends it: what is takeable is looked up in the transaction."""
    return path.PublishPath("", title, slug, summary, items, ())
