"""PURE. cmi5.xml → what is wrong with it. cmi5 courses cannot be played yet; a broken one is told so first.

The rules are those of the cmi5 specification, sections 8.1 (reserved parameters), 13 (course structure) and 14
(packages), as far as they can be checked without fetching anything.
"""

import re
from collections.abc import Collection, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from catalog.packages.markup import Node
from catalog.packages.refusal import Refusal, quoted

MANIFEST = "cmi5.xml"
NAMESPACE = "https://w3id.org/xapi/profiles/cmi5/v1/CourseStructure.xsd"
RESERVED = frozenset(("endpoint", "fetch", "actor", "registration", "activityid"))

_CHILDREN = {
    # name: required in this order, optional ones marked with "?"; then whether AUs and blocks follow
    "course": (("title", "description"), False),
    "block": (("title", "description", "objectives?"), True),
    "au": (("title", "description", "objectives?", "url", "launchParameters?", "entitlementKey?"), False),
    "objective": (("title", "description"), False),
}
_MOVE_ON = ("NotApplicable", "Passed", "Completed", "CompletedAndPassed", "CompletedOrPassed")
_LAUNCH = ("OwnWindow", "AnyWindow")
_IRI = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+$")
_URL = re.compile(r"^[^\s<>\"{}|\\^`]+$")


def check_course(root: Node, names: Collection[str] | None) -> None:
    """Raise what is wrong. `names`: the files of the zip, or None when cmi5.xml came alone."""
    _check_structure(root)
    described = [
        node for node in root.walk() if node.name in ("course", "block", "au", "objective") and _ours(node)
    ]
    for node in described:
        _check_iri(node)
    _check_unique(described)
    for node in root.walk():
        if node.name == "au" and _ours(node):
            _check_address(node.attributes.get("id", ""), node.text_of("url"), names)


def refuse_as_unsupported() -> Refusal:
    return Refusal(
        "cmi5-not-supported",
        "The course is cmi5, which is not yet supported. Export it as SCORM 1.2.",
        entry=MANIFEST,
    )


def _ours(node: Node) -> bool:
    return node.namespace == NAMESPACE


def _invalid(why: str) -> Refusal:
    return Refusal("cmi5-structure-invalid", f"{MANIFEST} {why}.", entry=MANIFEST)


def _check_structure(root: Node) -> None:
    if root.name != "courseStructure" or not _ours(root):
        raise _invalid(f"begins with <{root.name}>, not with <courseStructure> of the cmi5 namespace")
    own = [child for child in root.children if _ours(child)]
    if not own or own[0].name != "course":
        raise _invalid("has no <course> as its first element")
    _check_element(own[0])
    rest = own[1:]
    if rest and rest[0].name == "objectives":
        _check_objectives(rest[0])
        rest = rest[1:]
    _check_parts("courseStructure", rest)


def _check_parts(where: str, parts: Sequence[Node]) -> None:
    if not parts:
        raise _invalid(f"has neither an <au> nor a <block> in <{where}>")
    for part in parts:
        if part.name not in ("au", "block"):
            raise _invalid(f"has <{part.name}> in <{where}>, where only <au> and <block> may be")
        _check_element(part)


def _check_element(node: Node) -> None:
    named = f"<{node.name} id={quoted(node.attributes.get('id', ''))}>"
    if not node.attributes.get("id"):
        raise _invalid(f"has <{node.name}> without an id")
    expected, has_parts = _CHILDREN[node.name]
    own = [child for child in node.children if _ours(child)]
    at = 0
    for name in expected:
        here = own[at] if at < len(own) else None
        if here is not None and here.name == name.removesuffix("?"):
            at += 1
            if here.name in ("title", "description") and not any(
                c.name == "langstring" for c in here.children
            ):
                raise _invalid(f"has no <langstring> in the {here.name} of {named}")
            if here.name == "objectives" and node.name == "block":
                _check_objectives(here)
        elif not name.endswith("?"):
            found = "nothing" if here is None else f"<{here.name}>"
            raise _invalid(f"has {found} in {named} where <{name}> must be")
    if has_parts:
        _check_parts(node.name, own[at:])
    elif at < len(own):
        raise _invalid(f"has <{own[at].name}> in {named}, where it must not be")
    if node.name == "au":
        _check_attributes(node, named)


def _check_objectives(node: Node) -> None:
    for objective in node.children:
        if _ours(objective):
            if objective.name != "objective":
                raise _invalid(f"has <{objective.name}> in <objectives>")
            _check_element(objective)


def _check_attributes(node: Node, named: str) -> None:
    for attribute, allowed in (("moveOn", _MOVE_ON), ("launchMethod", _LAUNCH)):
        value = node.attributes.get(attribute)
        if value is not None and value not in allowed:
            raise _invalid(
                f"has {attribute}={quoted(value)} in {named}; it must be one of {', '.join(allowed)}"
            )
    score = node.attributes.get("masteryScore")
    if score is not None and not re.fullmatch(r"0(\.\d+)?|1(\.0+)?|\.\d+", score):
        raise _invalid(f"has masteryScore={quoted(score)} in {named}; it must be from 0 to 1")


def _check_iri(node: Node) -> None:
    value = node.attributes.get("id", "")
    if not _IRI.match(value):
        raise Refusal(
            "cmi5-id-not-iri",
            f"{MANIFEST} has the {node.name} id {quoted(value)}, which is not an absolute IRI (it has no scheme).",
            entry=MANIFEST,
        )


def _check_unique(nodes: Sequence[Node]) -> None:
    seen: dict[str, str] = {}
    for node in nodes:
        value = node.attributes.get("id", "")
        if value in seen:
            raise Refusal(
                "cmi5-duplicate-id",
                f"{MANIFEST} has the id {quoted(value)} twice: for a {seen[value]} and for a {node.name}.",
                entry=MANIFEST,
            )
        seen[value] = node.name


def _check_address(au: str, url: str, names: Collection[str] | None) -> None:
    def refuse(code: str, why: str) -> Refusal:
        return Refusal(
            code, f"The AU {quoted(au)} has the address {quoted(url)}, which {why}.", entry=MANIFEST
        )

    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise refuse("cmi5-url-invalid", "is not a valid URL") from None
    if not _URL.match(url):
        raise refuse(
            "cmi5-url-invalid",
            "is not a valid URL: it is empty or has a blank or another forbidden character",
        )
    if parts.scheme and (parts.scheme not in ("http", "https") or not host):
        raise refuse("cmi5-url-invalid", "is not a valid http or https URL")
    taken = sorted(
        {key for key, _ in parse_qsl(parts.query, keep_blank_values=True) if key.lower() in RESERVED}
    )
    if taken:
        raise refuse("cmi5-query-conflict", f"uses the parameter {', '.join(taken)}, reserved for the launch")
    if parts.scheme or parts.netloc:
        return
    if names is None:
        raise refuse("cmi5-relative-url", "is relative, but the course structure came without a zip")
    if unquote(parts.path) not in names:
        raise refuse("cmi5-launch-missing", "is not in the package")
