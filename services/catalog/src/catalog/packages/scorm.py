"""PURE. imsmanifest.xml → what can be launched (SCORM 1.2 Content Aggregation Model, §2.3)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from catalog.packages.markup import Node
from catalog.packages.refusal import Refusal, quoted

MANIFEST = "imsmanifest.xml"
MAX_TITLE = 300
_2004 = ("adlcp_v1p3", "adlseq_v1p3", "adlnav_v1p3", "imsss", "adlcp_v1p3.xsd")


@dataclass(frozen=True)
class Item:
    """One launchable item. `launch_path` is a reference from the package's root, as a browser takes it."""

    identifier: str
    title: str
    launch_path: str
    sco: bool
    mastery_score: float | None
    launch_data: str


@dataclass(frozen=True)
class Manifest:
    title: str
    items: Sequence[Item]


class Files:
    """The files of an archive. Authors on Windows write `Page.html` for page.html: twins are refused, so one fits."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = set(names)
        self._folded = {name.casefold(): name for name in names}

    def find(self, path: str) -> str | None:
        return path if path in self._names else self._folded.get(path.casefold())


def read_manifest(root: Node, names: Collection[str]) -> Manifest:
    """The items of the default organisation, in order. Refuses whatever is not SCORM 1.2."""
    if root.name != "manifest":
        raise _refuse("manifest-not-scorm", f"begins with <{root.name}>, not with <manifest>")
    _check_version(root)
    organization = _organization(root)
    resources = _resources(root)
    files = Files(names)
    items = [
        _item(node, resources, files)
        for node in _leaves(organization)
        if node.attributes.get("identifierref")
    ]
    if not items:
        raise _refuse(
            "manifest-no-items", "has no item that refers to a resource, so there is nothing to launch"
        )
    seen: set[str] = set()
    for item in items:
        if item.identifier in seen:
            raise _refuse(
                "manifest-duplicate-identifier", f"uses the item identifier {quoted(item.identifier)} twice"
            )
        seen.add(item.identifier)
    title = _title(organization) or items[0].title
    return Manifest(title, items)


def _refuse(code: str, why: str) -> Refusal:
    return Refusal(code, f"{MANIFEST} {why}.", entry=MANIFEST)


def _check_version(root: Node) -> None:
    metadata = root.child("metadata")
    version = "" if metadata is None else metadata.text_of("schemaversion")
    spaces = [uri for node in root.walk() for uri in node.namespaces]
    if not version:
        if any(uri.rstrip("/").endswith(_2004) for uri in spaces):
            version = "2004"
        elif any("adlcp_rootv1p2" in uri for uri in spaces):
            version = "1.2"
    if version == "1.2":
        return
    if version.startswith(("2004", "CAM")):
        raise Refusal(
            "scorm-2004-not-supported",
            f"The package is SCORM 2004 ({quoted(version)}), which is not yet supported. Export it as SCORM 1.2.",
            entry=MANIFEST,
        )
    if version in ("1.0", "1.1"):
        raise Refusal(
            "scorm-version-not-supported",
            f"The package is SCORM {version}, which is not supported. Export it as SCORM 1.2.",
            entry=MANIFEST,
        )
    raise _refuse(
        "manifest-not-scorm", f"does not say that it is SCORM 1.2 (schemaversion {quoted(version)})"
    )


def _organization(root: Node) -> Node:
    organizations = root.child("organizations")
    some = [] if organizations is None else list(organizations.named("organization"))
    if organizations is None or not some:
        raise _refuse("manifest-no-organization", "has no organisation")
    default = organizations.attributes.get("default")
    if not default:
        return some[0]
    chosen = next((o for o in some if o.attributes.get("identifier") == default), None)
    if chosen is None:
        raise _refuse(
            "manifest-no-organization", f"names {quoted(default)} as its organisation, which it does not have"
        )
    return chosen


def _resources(root: Node) -> Mapping[str, tuple[Node, str]]:
    """Each resource with the base of its address (xml:base adds up from the manifest inwards)."""
    found: dict[str, tuple[Node, str]] = {}
    outer = root.attributes.get("xml:base", "")
    for group in root.named("resources"):
        base = outer + group.attributes.get("xml:base", "")
        for resource in group.named("resource"):
            identifier = resource.attributes.get("identifier", "")
            if identifier in found:
                raise _refuse(
                    "manifest-duplicate-identifier",
                    f"uses the resource identifier {quoted(identifier)} twice",
                )
            found[identifier] = (resource, base + resource.attributes.get("xml:base", ""))
    return found


def _leaves(organization: Node) -> Iterator[Node]:
    for item in organization.named("item"):
        yield item
        yield from _leaves(item)


def _title(node: Node) -> str:
    return " ".join(node.text_of("title").split())[:MAX_TITLE]


def _item(node: Node, resources: Mapping[str, tuple[Node, str]], files: Files) -> Item:
    identifier = node.attributes.get("identifier", "")
    title = _title(node) or identifier
    reference = node.attributes["identifierref"]
    if not identifier:
        raise _refuse("manifest-duplicate-identifier", f"has an item without an identifier ({quoted(title)})")
    if reference not in resources:
        raise _refuse(
            "manifest-unknown-resource",
            f"has the item {quoted(title)} refer to {quoted(reference)}, which is not in it",
        )
    resource, base = resources[reference]
    href = resource.attributes.get("href", "")
    if not href:
        raise _refuse(
            "manifest-launch-invalid", f"has no address (href) for the resource {quoted(reference)}"
        )
    return Item(
        identifier=identifier,
        title=title,
        launch_path=launch_path(base + href, node.attributes.get("parameters", ""), files),
        sco=resource.attributes.get("scormtype", resource.attributes.get("scormType", "")).lower() == "sco",
        mastery_score=_mastery_score(node),
        launch_data=node.text_of("datafromlms"),
    )


def launch_path(address: str, parameters: str, files: Files) -> str:
    """`address` resolved inside the package, with the item's parameters after it."""
    shown = quoted(address)
    try:
        parts = urlsplit(address.replace("\\", "/"))
    except ValueError:
        raise _refuse("manifest-launch-invalid", f"has the unusable address {shown}") from None
    if parts.scheme or parts.netloc:
        raise _refuse("manifest-launch-external", f"launches {shown}, which is not in the package")
    path = _resolve(unquote(parts.path))
    if path is None:
        raise _refuse("manifest-launch-external", f"launches {shown}, which climbs out of the package")
    file = files.find(path)
    if file is None:
        raise _refuse("manifest-launch-missing", f"launches {shown}, but the package has no such file")
    query, fragment = parts.query, parts.fragment
    extra = parameters.strip()
    if extra.startswith("#"):
        fragment = fragment or extra[1:]
    elif extra:
        query = "&".join(filter(None, (query, extra.lstrip("?&"))))
    return quote(file) + (f"?{_safe(query)}" if query else "") + (f"#{_safe(fragment)}" if fragment else "")


def _safe(text: str) -> str:
    return quote(text, safe="%/?:@!$&'()*+,;=-._~")


def _resolve(path: str) -> str | None:
    """Without '.' and '..'; None when it leaves the package."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not kept:
                return None
            kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    return "/".join(kept)


def _mastery_score(node: Node) -> float | None:
    text = node.text_of("masteryscore")
    if not text:
        return None
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0 <= score <= 100:
        raise _refuse(
            "manifest-mastery-score", f"has the mastery score {quoted(text)}, not a number from 0 to 100"
        )
    return score
