"""The databases and roles of `ha` on a real PostgreSQL, made as CloudNativePG makes them: a service migrates and works there."""

from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from lyceum_kit import db
from lyceum_kit.feed import FeedSource
from lyceum_kit.migrations import upgrade_async
from lyceum_local.postgres import with_database
from lyceum_local.testing.kubernetes import OVERLAYS, render

# Of one service: the rest is the same, which provisions.stored sees to.
SERVICE = "identity"
PREFIX = "ha_"  # the server may have roles of these names


def statements(documents: list[dict[str, Any]]) -> Iterator[str]:
    """The operator's, in its order: roles, memberships, databases."""
    roles = [
        d["spec"] for d in documents if d["kind"] == "DatabaseRole" and d["spec"]["name"].startswith(SERVICE)
    ]
    for role in roles:
        flags = (
            "LOGIN PASSWORD 'secret'" if role["login"] else "NOLOGIN",
            "" if role.get("inherit", True) else "NOINHERIT",
        )
        yield f'CREATE ROLE "{PREFIX}{role["name"]}" {" ".join(flags)}'
    for role in roles:
        for group in role.get("inRoles", ()):
            yield f'GRANT "{PREFIX}{group}" TO "{PREFIX}{role["name"]}"'
    (database,) = (d["spec"] for d in documents if d["kind"] == "Database" and d["spec"]["name"] == SERVICE)
    yield f'CREATE DATABASE "{PREFIX}{database["name"]}" OWNER "{PREFIX}{database["owner"]}"'


async def test_a_service_migrates_and_works_in_what_the_operator_makes(postgres_url: str) -> None:
    documents = render(OVERLAYS / "ha")
    admin = await asyncpg.connect(postgres_url)
    name = f"{PREFIX}{SERVICE}"
    at = with_database(postgres_url, name).partition("@")[2]
    url = f"postgresql://{name}:secret@{at}"
    try:
        for statement in statements(documents):
            await admin.execute(statement)
        (database,) = (
            d["spec"] for d in documents if d["kind"] == "Database" and d["spec"]["name"] == SERVICE
        )
        inside = await asyncpg.connect(with_database(postgres_url, name))
        for schema in database["schemas"]:
            await inside.execute(f'ALTER SCHEMA {schema["name"]} OWNER TO "{PREFIX}{schema["owner"]}"')
        await inside.close()

        await upgrade_async(SERVICE, f"postgresql://{name}_owner:secret@{at}", name)
        source = FeedSource(url, name)  # reads every tenant, as its relay
        try:
            assert await source.heads(SERVICE)
        finally:
            await source.close()
        service = await db.connect(url, application="test")
        try:
            for beyond in (
                "SELECT count(*) FROM events",
                "CREATE TABLE mine (n int)",
            ):  # without a tenant; at all
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await service.execute(beyond)
            # It has what its relay may by SET ROLE, and in no other way.
            assert not await service.fetchval(
                "SELECT pg_has_role(current_user, $1, 'USAGE')", f"{name}_relay"
            )
            assert await service.fetchval("SELECT pg_has_role(current_user, $1, 'SET')", f"{name}_relay")
        finally:
            await service.close()
    finally:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        for role in (f"{name}_owner", name, f"{name}_relay"):
            await admin.execute(f'DROP ROLE IF EXISTS "{role}"')
        await admin.close()
