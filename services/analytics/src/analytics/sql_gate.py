"""PURE: which SQL the operator's endpoint lets through, judged on the engine's own parse of it.

The engine is asked twice before it runs anything: `formatQuerySingleLine` gives the one statement without
comments, EXPLAIN AST its tree. What was judged is what runs. Behind this gate stand the engine's read-only mode,
its grants and its limits; it exists because they let through the scalar `file()`, KILL QUERY, INTO OUTFILE, USE.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Kinds of statements, as the tree's first line names them.
STATEMENTS = frozenset(
    {
        "SelectWithUnionQuery",
        "Explain",
        "DescribeQuery",
        "ShowTables",
        "ShowColumns",
        "ShowFunctions",
        "ShowIndexes",
        "ShowCreateTableQuery",
        "ShowCreateViewQuery",
        "ShowCreateDatabaseQuery",
        "ExistsTableQuery",
        "ExistsViewQuery",
        "ExistsDatabaseQuery",
    }
)
# Tables made by functions: those that reach nothing outside the engine.
TABLE_FUNCTIONS = frozenset(
    [
        "numbers",
        "numbers_mt",
        "zeros",
        "zeros_mt",
        "primes",
        "generateseries",
        "generate_series",
        "values",
        "view",
        "merge",
        "null",
    ]
)
# Functions that reach outside as values, and table functions that hide as values in `x IN url(…)`.
REFUSED_FUNCTIONS = re.compile(
    r"(ai[A-Z].*|AI[A-Z].*|(?i:file.*|url|urlcluster|remote.*|s3.*|gcs|oss|cosn|hdfs.*|azureblob.*|.*iceberg.*|deltalake.*"
    r"|hudi.*|paimon.*|mysql|postgresql|mongodb|redis|sqlite|jdbc|odbc|bigquery|ytsaurus|executable.*|python"
    r"|input|dictionary|cluster.*|loop|eval|fuzz.*|prometheus.*|catboost.*|arrowstream|getclienthttpheader))"
)
FORMATS = re.compile(
    r"Native|Null|Vertical|Values|Markdown|XML|Parquet|Arrow|ArrowStream|ORC|TSV\w*|TabSeparated\w*|CSV|CSVWithNames"
    r"|CSVWithNamesAndTypes|JSON\w*|Pretty\w*|RowBinary|RowBinaryWithNames|RowBinaryWithNamesAndTypes"
)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_INTO = re.compile(r"\bINTO\s+OUTFILE\b", re.IGNORECASE)
_NAME_BY_PARAMETER = re.compile(r"\{\w+\s*:\s*Identifier\s*\}")
_FORMAT = re.compile(r"\sFORMAT (\w+)$")


class NotAllowed(Exception):
    """What the statement wanted; nothing of it ran."""


@dataclass(frozen=True)
class Allowed:
    """`query` and the format of its answer, which stands apart from it. Only a SELECT can give much."""

    query: str
    format: str
    select: bool


@dataclass(frozen=True)
class Node:
    kind: str
    name: str
    parent: "Node | None"


def judge(statement: str, tree: str, default_format: str = "TabSeparated") -> Allowed:
    """Raises NotAllowed. `statement` is formatted, `tree` its EXPLAIN AST."""
    _readable(statement)
    nodes = list(parse(tree))
    root = nodes[0]
    if root.kind not in STATEMENTS or statement.startswith("EXPLAIN AST"):
        raise NotAllowed("Only SELECT, WITH, SHOW, DESCRIBE, EXISTS and EXPLAIN are answered here")
    if _INTO.search(_QUOTED.sub("''", statement)):
        raise NotAllowed("INTO OUTFILE would write a file")
    for node in nodes:
        if node.kind == "Set" and not (node.parent is root and root.kind == "Explain"):  # EXPLAIN indexes = 1
            raise NotAllowed("SETTINGS cannot be changed here")
        if node.kind != "Function":
            continue
        if REFUSED_FUNCTIONS.fullmatch(node.name):
            raise NotAllowed(f"{node.name}() reaches outside the engine")
        makes_table = node.parent is not None and node.parent.kind == "TableExpression"
        if makes_table and node.name.lower() not in TABLE_FUNCTIONS:
            raise NotAllowed(f"{node.name}() is not one of the table functions allowed here")
    return _in_a_format(statement, root, nodes, default_format)


def _readable(statement: str) -> None:
    """The tree prints names as they are: a line break in one would forge lines of it."""
    names = (quoted for quoted in _QUOTED.findall(statement) if quoted[0] != "'")
    if any("\\" in name for name in names):
        raise NotAllowed("Names with escapes in them are not answered here")
    if _NAME_BY_PARAMETER.search(statement):
        raise NotAllowed("Parameters that are names are not taken here")


def _in_a_format(statement: str, root: Node, nodes: Sequence[Node], default: str) -> Allowed:
    """FORMAT stands at the end, and in the tree as a child of the root: `ORDER BY format ASC` has no such."""
    found = _FORMAT.search(statement)
    if found and any(n.kind == "Identifier" and n.name == found[1] and n.parent is root for n in nodes):
        query, format = statement[: found.start()], found[1]
    else:
        query, format = statement, default
    if not FORMATS.fullmatch(format):
        raise NotAllowed(f"Answers in the format {format} are not given here")
    return Allowed(query, format, select=root.kind == "SelectWithUnionQuery")


def parse(tree: str) -> Iterator[Node]:
    """The lines of EXPLAIN AST; depth is the number of spaces. Literals are escaped: one node, one line."""
    path: list[Node] = []
    for line in tree.splitlines():
        text = line.lstrip(" ")
        if not text:
            continue
        depth = min(len(line) - len(text), len(path))
        kind, _, rest = text.partition(" ")
        name = rest.partition(" ")[0] if not rest.startswith("(") else ""
        node = Node(kind, name, path[depth - 1] if depth else None)
        path[depth:] = [node]
        yield node
