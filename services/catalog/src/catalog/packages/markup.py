"""XML of strangers: no DOCTYPE, so no entities; no XInclude, no network, bounded in size and depth.

lxml stays in here. What the readers of manifests get is a plain tree.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.parsers import expat

from lxml import etree

from catalog.packages.refusal import Refusal

MAX_BYTES = 5 << 20
MAX_DEPTH = 100
_XINCLUDE = "http://www.w3.org/2001/XInclude"
XML = "http://www.w3.org/XML/1998/namespace"


@dataclass(frozen=True)
class Node:
    """An element: names without prefix, text without surrounding blanks. Attributes by local name."""

    name: str
    namespace: str
    attributes: Mapping[str, str]
    text: str
    namespaces: frozenset[str]
    children: Sequence["Node"] = field(default_factory=tuple["Node", ...])

    def child(self, name: str) -> "Node | None":
        return next(self.named(name), None)

    def named(self, name: str) -> Iterator["Node"]:
        return (child for child in self.children if child.name == name)

    def walk(self) -> Iterator["Node"]:
        stack: list[Node] = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def text_of(self, name: str) -> str:
        child = self.child(name)
        return "" if child is None else child.text


def read_xml(data: bytes, what: str) -> Node:
    """The tree of `data`, called `what` in sentences."""
    if len(data) > MAX_BYTES:
        raise Refusal(
            "manifest-too-large", f"{what} has {len(data):,} bytes; {MAX_BYTES:,} are allowed.", entry=what
        )
    _refuse_doctype(data, what)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise Refusal(
            "manifest-not-xml",
            f"{what} is not well-formed XML: {str(error.msg).splitlines()[0]}.",
            entry=what,
        ) from None
    if root.getroottree().docinfo.internalDTD:
        raise _doctype(what)
    return _node(root, what, 0)


def _refuse_doctype(data: bytes, what: str) -> None:
    """Stop at the DOCTYPE, before any parser has read what is declared in it."""

    def on_doctype(*_: object) -> None:
        raise _doctype(what)

    # No hash salt, no handlers but one: nothing is built, nothing is expanded.
    scanner = expat.ParserCreate()
    scanner.StartDoctypeDeclHandler = on_doctype
    try:
        scanner.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError):
        return  # not well-formed, or an encoding expat does not know: lxml says which, and looks again


def _doctype(what: str) -> Refusal:
    return Refusal(
        "xml-doctype-forbidden", f"{what} has a DOCTYPE; manifests need none, and attacks do.", entry=what
    )


def _node(element: "etree._Element", what: str, depth: int) -> Node:  # pyright: ignore[reportPrivateUsage]
    if depth > MAX_DEPTH:
        raise Refusal("xml-too-deep", f"{what} is nested more than {MAX_DEPTH} elements deep.", entry=what)
    name = etree.QName(element)
    if name.namespace == _XINCLUDE:
        raise Refusal("xml-xinclude-forbidden", f"{what} includes other files by XInclude.", entry=what)
    return Node(
        name=name.localname,
        namespace=name.namespace or "",
        attributes={_attribute(str(key)): str(value) for key, value in element.attrib.items()},
        text=(element.text or "").strip(),
        namespaces=frozenset(str(uri) for uri in element.nsmap.values()),
        children=tuple(_node(child, what, depth + 1) for child in element),
    )


def _attribute(key: str) -> str:
    """`masteryscore` for `{…adlcp…}masteryscore`, but `xml:base` for XML's own."""
    namespace, _, local = key.rpartition("}")
    return f"xml:{local}" if namespace == "{" + XML else local
