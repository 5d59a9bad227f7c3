"""Pages that are made from the code: `python -m lyceum_local.reference` writes them, with `--check` it compares.

Configuration from the settings classes, the data dictionary from ClickHouse's own account of its tables and views.
"""

import asyncio
import importlib
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from analytics import schema
from analytics.engine import Engine
from lyceum_kit.settings import KitSettings
from lyceum_local.paths import SERVICES

CONFIGURATION = "docs/operations/configuration.md"
DICTIONARY = "docs/data-dictionary.md"

_CONFIGURATION = """\
# Configuration

Every setting of every service. Each comes from an environment variable, or from a file of the same name in lower case in
`/run/secrets` where a secret is mounted. A service refuses to start with a value that cannot be. (This page is made from the
settings classes: `python -m lyceum_local.reference`.)

The local edition sets them itself; `./lyceum status --secrets` shows the few that people need.
"""
_DICTIONARY = """\
# Data dictionary

What analytics keeps in ClickHouse, in the database `lyceum`. **Ask the `v1_` views**: they are the contract, columns are
only ever added to them. The tables under them have a row for each event, and may change with a release. Begin with the
[twenty questions](guides/twenty-questions.md). (This page is made from the tables' own comments:
`python -m lyceum_local.reference`.)

All times are UTC. Every row has its `tenant`; filter by it.
"""
_COLUMNS = (
    "SELECT t.name AS of, t.comment AS meaning, c.name AS name, c.type AS type, c.comment AS comment"
    " FROM system.columns AS c JOIN system.tables AS t ON t.database = c.database AND t.name = c.table"
    " WHERE c.database = currentDatabase() AND t.name != 'schema_versions'"
    " ORDER BY NOT startsWith(t.name, 'v1_'), t.name, c.position"
)


def configuration() -> str:
    parts = [_CONFIGURATION, "\n## Every service\n\n", *_settings(KitSettings.model_fields)]
    for service in SERVICES:
        settings: type[KitSettings] = importlib.import_module(f"{service}.settings").Settings
        own = {name: f for name, f in settings.model_fields.items() if name not in KitSettings.model_fields}
        parts += [f"\n## {service}\n\n", *_settings(own)]
    return "".join(parts)


def _settings(fields: dict[str, FieldInfo]) -> Iterable[str]:
    yield "| variable | default | what |\n|---|---|---|\n"
    for name, field in fields.items():
        yield f"| `LYCEUM_{name.upper()}` | {_default(field)} | {field.description or ''} |\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    shown = value.get_secret_value() if isinstance(value, SecretStr) else value
    return f"`{shown}`" if shown not in ("", None, {}) else ""


async def dictionary() -> str:
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(f"chdb://{folder}/engine")
        try:
            await schema.migrate(engine)
            rows = await engine.query(_COLUMNS)
        finally:
            await engine.close()
    return "".join([_DICTIONARY, *_tables(rows)])


def _tables(rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    last = ""
    for row in rows:
        if row["of"] != last:
            last = row["of"]
            yield f"\n## {last}\n\n{row['meaning']}.\n\n| column | type | meaning |\n|---|---|---|\n"
        yield f"| `{row['name']}` | `{row['type']}` | {row['comment']} |\n"


async def pages() -> dict[str, str]:
    """Each page by its path in the repository."""
    return {CONFIGURATION: configuration(), DICTIONARY: await dictionary()}


def main() -> None:
    for path, text in asyncio.run(pages()).items():
        page = Path.cwd() / path
        if sys.argv[1:] != ["--check"]:
            page.write_text(text, encoding="utf-8")
        elif page.read_text(encoding="utf-8") != text:
            raise SystemExit(f"{path} is not what the code says: run python -m lyceum_local.reference")


if __name__ == "__main__":
    main()
