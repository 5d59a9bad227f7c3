"""Fixtures for every test: a real PostgreSQL 18 and, from it, fresh databases as the services have them."""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest
from hypothesis import settings
from playwright.async_api import Browser, async_playwright

from lyceum_kit import logs
from lyceum_kit.migrations import upgrade_async
from lyceum_kit.settings import KitSettings
from lyceum_local import config, kafka, postgres, web
from lyceum_local.paths import CONTRACTED, SERVICES, cache_folder
from lyceum_local.testing import free_port


def pytest_configure() -> None:
    # structlog's own default draws tracebacks with every local: ten seconds for one of the HTTP stack.
    logs.configure(KitSettings(log_format="console"))
    # How long one example took says how busy the machine was: a deadline fails at random.
    settings.register_profile("suite", deadline=None)
    settings.load_profile("suite")


class Database(NamedTuple):
    """A service's database as the service sees it: as the role it runs as, and as the owner that migrates."""

    app_url: str
    owner_url: str
    role: str


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Throwaway]:
    """A server of our own for this run."""
    folder = Path(tempfile.mkdtemp(prefix="lyceum-test-"))
    folder.chmod(0o755)
    server = postgres.Throwaway(folder, cache_folder(), free_port(), secrets.token_urlsafe(12))
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """Our own server, or the one LYCEUM_TEST_POSTGRES names (as a superuser)."""
    return os.environ.get("LYCEUM_TEST_POSTGRES") or request.getfixturevalue("postgres_server").url


@pytest.fixture(scope="session")
async def migrated(postgres_url: str) -> AsyncIterator[Callable[[str], Awaitable[postgres.Account]]]:
    """`await migrated("enrollment")`: a service's database after its migrations, to be copied for each test."""
    made: dict[str, postgres.Account] = {}

    async def template(service: str) -> postgres.Account:
        if service not in made:
            account = await _create(postgres_url, service)
            owner = _url(postgres_url, f"{account.name}_owner", account.owner_password, account.name)
            await upgrade_async(service, owner, account.name)
            made[service] = account
        return made[service]

    yield template
    await _drop(postgres_url, [a.name for a in made.values()], [a.name for a in made.values()])


@pytest.fixture
async def database(
    postgres_url: str, migrated: Callable[[str], Awaitable[postgres.Account]]
) -> AsyncIterator[Callable[[str], Awaitable[Database]]]:
    """`await database("enrollment")`: a fresh database, migrated when the name is a service's."""
    names: list[str] = []
    roles: list[str] = []

    async def make(service: str) -> Database:
        if service in SERVICES:
            account = await migrated(service)
            name = f"{service}_{secrets.token_hex(4)}"
            async with _admin(postgres_url) as admin:
                await admin.execute(
                    f'CREATE DATABASE "{name}" TEMPLATE "{account.name}" OWNER "{account.name}_owner"'
                )
                await postgres.grant_connect(admin, name, account.name)
        else:
            account = await _create(postgres_url, service)
            name = account.name
            roles.append(name)
        names.append(name)
        app = _url(postgres_url, account.name, account.password, name)
        owner = _url(postgres_url, f"{account.name}_owner", account.owner_password, name)
        return Database(app, owner, account.name)

    yield make
    await _drop(postgres_url, names, roles)


async def _create(server: str, service: str) -> postgres.Account:
    name = f"{service}_{secrets.token_hex(4)}"
    account = postgres.Account(name, secrets.token_urlsafe(8), secrets.token_urlsafe(8))
    await postgres.create_databases(server, [account])
    return account


async def _drop(server: str, names: Sequence[str], roles: Sequence[str]) -> None:
    async with _admin(server) as admin:
        for name in names:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        for role in roles:
            for suffix in ("", "_owner", "_relay"):
                await admin.execute(f'DROP ROLE "{role}{suffix}"')


@asynccontextmanager
async def _admin(server: str) -> AsyncGenerator[asyncpg.Connection]:
    admin = await asyncpg.connect(server)
    try:
        yield admin
    finally:
        await admin.close()


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[kafka.Throwaway]:
    """A real Apache Kafka with a user for each service and its ACLs."""
    folder = Path(tempfile.mkdtemp(prefix="lyceum-kafka-"))
    users = {user: secrets.token_urlsafe(12) for user in (*CONTRACTED, "admin", "controller")}
    broker = kafka.Throwaway(folder, cache_folder(), free_port(), free_port(), users)
    try:
        yield broker
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def web_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The web app as its sources are now, with the SCORM run-time in its folder `lms`."""
    if not web.is_current():
        web.build(tmp_path_factory.mktemp("web") / "build.log")
    return config.web_build()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium: the system's, or Playwright's own."""
    found = os.environ.get("LYCEUM_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        await browser.close()


def _url(server: str, user: str, password: str, name: str) -> str:
    return f"postgresql://{user}:{password}@{server.rpartition('@')[2].partition('/')[0]}/{name}"
