"""Applies tables/*.sql in order, each once. Every statement may run twice, so a kill between two is harmless.

No number is used twice: 0005 to 0012 were folded into what follows them, which replaces what they made.

The engine clause stands here alone: plain MergeTree, or replicated on a cluster of a server.
"""

from importlib import resources
from string import Template

import structlog

from analytics.engine import Engine

log = structlog.get_logger()

_VERSIONS = Template("""
CREATE TABLE IF NOT EXISTS schema_versions $on_cluster (
  version UInt32 COMMENT 'Number of the file under tables/',
  name String COMMENT 'Its name',
  applied_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') COMMENT 'When'
) ENGINE = $engine ORDER BY version COMMENT 'What of tables/ has been applied'
""")


def clauses(cluster: str = "") -> dict[str, str]:
    """What stands for $engine and $on_cluster."""
    if not cluster:
        return {"engine": "MergeTree", "on_cluster": ""}
    # The default path holds {uuid}, so that a rebuilt table is a new one for its replicas.
    return {"engine": "ReplicatedMergeTree", "on_cluster": f"ON CLUSTER `{cluster}`"}


def files() -> list[tuple[int, str, str]]:
    """(number, name, SQL) in order."""
    folder = resources.files("analytics") / "tables"
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".sql"))
    return [(int(name[:4]), name, (folder / name).read_text(encoding="utf-8")) for name in names]


def statements(sql: str, cluster: str = "") -> list[str]:
    """A file's statements."""
    return split(Template(sql).substitute(clauses(cluster)))


def split(sql: str) -> list[str]:
    """Semicolons end lines, and nothing else in our files does so."""
    return [s for part in sql.split(";\n") if (s := part.strip()) and not _only_comments(s)]


def _only_comments(text: str) -> bool:
    return all(line.startswith("--") or not line.strip() for line in text.splitlines())


async def migrate(engine: Engine, cluster: str = "") -> list[str]:
    """Bring the database to this version; the names of what was applied."""
    await engine.command(_VERSIONS.substitute(clauses(cluster)))
    rows = await engine.read_back("SELECT version FROM schema_versions")
    known = {row["version"] for row in rows}
    applied: list[str] = []
    for version, name, sql in files():
        if version in known:
            continue
        for statement in statements(sql, cluster):
            await engine.command(statement)
        await engine.command(
            "INSERT INTO schema_versions (version, name) VALUES ({version:UInt32}, {name:String})",
            {"version": version, "name": name},
        )
        applied.append(name)
        log.info("table applied", file=name)
    return applied
