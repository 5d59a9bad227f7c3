import secrets
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from lyceum_local import postgres


@pytest.fixture
async def service(postgres_url: str) -> postgres.Account:
    account = postgres.Account(f"svc_{secrets.token_hex(4)}", "owner-secret", "app-secret")
    await postgres.create_databases(postgres_url, [account])
    return account


def as_role(server: str, role: str, password: str, database: str) -> str:
    return postgres.url(urlsplit(server).port or 0, role, password, database)


async def test_a_service_gets_a_database_and_roles_without_power(
    postgres_url: str, service: postgres.Account
) -> None:
    owner = await asyncpg.connect(
        as_role(postgres_url, f"{service.name}_owner", "owner-secret", service.name)
    )
    await owner.execute("CREATE TABLE t (n int)")
    await owner.close()
    app = await asyncpg.connect(as_role(postgres_url, service.name, "app-secret", service.name))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app.execute("SELECT * FROM t")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app.execute("CREATE TABLE u (n int)")
    flags = await app.fetchrow(
        "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )
    assert flags is not None
    assert tuple(flags) == (False, False, False)
    await app.execute(f'SET ROLE "{service.name}_relay"')
    assert await app.fetchval("SELECT current_user") == f"{service.name}_relay"
    assert await app.fetchval("SHOW timezone") == "UTC"
    await app.close()


async def test_no_service_enters_the_database_of_another(
    postgres_url: str, service: postgres.Account
) -> None:
    other = postgres.Account(f"svc_{secrets.token_hex(4)}", "a", "b")
    await postgres.create_databases(postgres_url, [other])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(as_role(postgres_url, service.name, "app-secret", other.name))


async def test_a_wrong_password_is_refused(postgres_url: str, service: postgres.Account) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(as_role(postgres_url, service.name, "wrong", service.name))


async def test_creating_again_renews_the_password_and_keeps_the_data(
    postgres_url: str, service: postgres.Account
) -> None:
    owner = await asyncpg.connect(
        as_role(postgres_url, f"{service.name}_owner", "owner-secret", service.name)
    )
    await owner.execute("CREATE TABLE t (n int)")
    await owner.close()
    await postgres.create_databases(postgres_url, [postgres.Account(service.name, "new", "newer")])
    owner = await asyncpg.connect(as_role(postgres_url, f"{service.name}_owner", "new", service.name))
    assert await owner.fetchval("SELECT count(*) FROM t") == 0
    await owner.close()


def test_a_lock_file_that_names_a_strangers_process_is_dropped(tmp_path: Path) -> None:
    lock = tmp_path / "postmaster.pid"
    lock.write_text("1\n/somewhere\n")
    postgres.clear_stale(tmp_path)
    assert not lock.exists()


def test_a_lock_file_of_a_dead_process_is_left_to_postgresql(tmp_path: Path) -> None:
    lock = tmp_path / "postmaster.pid"
    lock.write_text("99999999\n/somewhere\n")
    postgres.clear_stale(tmp_path)
    assert lock.exists()
