"""TLS to real servers: who is not signed by our authority is not spoken with, and replaced files are taken up."""

import asyncio
import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError
from pydantic import SecretStr, ValidationError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from lyceum.feed.v1 import feed_service_pb2 as pb
from lyceum.feed.v1 import feed_service_pb2_grpc as pb_grpc
from lyceum_kit import db, tls
from lyceum_kit.peers import Peers
from lyceum_kit.relay import ensure_topics
from lyceum_kit.rpc import RpcServer, RpcService, make_server
from lyceum_kit.settings import KitSettings
from lyceum_kit.testing import FixedToken, TestKeys
from lyceum_kit.topics import feeds
from lyceum_kit.wire import kafka_options, make_broker
from lyceum_local import kafka, postgres
from lyceum_local.children import bound
from lyceum_local.paths import CONTRACTED, cache_folder
from lyceum_local.testing import free_port
from lyceum_local.testing.authority import Authority, Pair, mount
from lyceum_local.testing.tls_kafka import Ports, listen

OURS = Authority("ours")
THEIRS = Authority("theirs")


def files(folder: Path, pair: Pair, ca: bytes = OURS.pem) -> Path:
    return mount(folder, ca=ca, cert=pair.certificate, key=pair.key)


# ---- files and settings


def test_a_pair_that_does_not_match_is_not_taken(tmp_path: Path) -> None:
    first, second = OURS.issue("a"), OURS.issue("a")
    files(tmp_path, first)
    where = tls.Files(*(str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")))
    renewed = tls.Renewed(where, tls.Files.read)
    assert renewed() == ((OURS.pem, first.certificate, first.key), False)
    files(tmp_path, Pair(second.certificate, first.key))
    assert renewed() == ((OURS.pem, first.certificate, first.key), False)
    files(tmp_path, second)
    assert renewed() == ((OURS.pem, second.certificate, second.key), True)
    assert renewed() == ((OURS.pem, second.certificate, second.key), False)


@pytest.mark.parametrize(
    "half",
    [
        {"kafka_tls": True, "kafka_certificate": "/c"},
        {"grpc_key": "/k"},
        {"kafka_ca": "/ca"},
        {"grpc_client_ca": "/ca"},
    ],
)
def test_half_a_setting_is_refused(half: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KitSettings(**half)


# ---- gRPC

KEYS = TestKeys()


class Feed(pb_grpc.EventFeedServicer):
    async def Read(self, request: pb.ReadRequest, context: Any) -> AsyncIterator[pb.ReadResponse]:
        yield pb.ReadResponse()

    async def Heads(self, request: pb.HeadsRequest, context: Any) -> pb.HeadsResponse:
        if request.feed == "slow":
            await asyncio.sleep(0.3)
        return pb.HeadsResponse(partitions=[pb.PartitionHead(head=7)])


class Rpc:
    """A server, and peers that call it as identity."""

    def __init__(self, folder: Path, client_ca: str = "") -> None:
        settings = KitSettings(
            grpc_host="127.0.0.1",
            grpc_port=0,
            grpc_ca=str(folder / "ca.pem"),
            grpc_certificate=str(folder / "cert.pem"),
            grpc_key=str(folder / "key.pem"),
            grpc_client_ca=client_ca,
        )
        service = RpcService(
            "lyceum.feed.v1.EventFeed",
            lambda server: pb_grpc.add_EventFeedServicer_to_server(Feed(), server),
            {"Heads": frozenset(), "Read": frozenset()},
        )
        self.server: RpcServer = make_server(settings, [service], KEYS.verifier)
        self.settings = settings.model_copy(update={"identity_grpc": f"127.0.0.1:{self.server.port}"})

    async def __aenter__(self) -> "Rpc":
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(None)

    def peers(self, **changed: str) -> Peers:
        return Peers(self.settings.model_copy(update=changed), FixedToken(KEYS.token(roles=["service"])))

    async def shown(self) -> int:
        """Serial number of the certificate that a new connection is shown."""
        context = ssl.create_default_context(cadata=(OURS.pem + THEIRS.pem).decode())
        context.set_alpn_protocols(["h2"])
        _, writer = await asyncio.open_connection("127.0.0.1", self.server.port, ssl=context)
        number: str = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        return int(number, 16)


async def call(peers: Peers, feed: str = "identity") -> int:
    stub: Any = pb_grpc.EventFeedStub(peers.channel("identity"))
    heads = await stub.Heads(pb.HeadsRequest(feed=feed), metadata=await peers.metadata(None), timeout=5)
    return heads.partitions[0].head


async def test_services_speak_tls_and_only_with_who_is_signed(tmp_path: Path) -> None:
    ours = files(tmp_path / "ours", OURS.issue("identity"))
    theirs = files(tmp_path / "theirs", THEIRS.issue("identity"), THEIRS.pem)
    async with Rpc(ours) as rpc:
        for changed in ({}, {"grpc_certificate": "", "grpc_key": ""}):
            peers = rpc.peers(**changed)
            assert await call(peers) == 7
            await peers.close()
        for changed in ({"grpc_ca": ""}, {"grpc_ca": str(theirs / "ca.pem")}):
            peers = rpc.peers(**changed)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(peers)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            await peers.close()
    files(tmp_path / "elsewhere", OURS.issue("identity", "127.0.0.2"))
    async with Rpc(tmp_path / "elsewhere") as rpc:
        peers = rpc.peers()
        with pytest.raises(grpc.aio.AioRpcError):
            await call(peers)
        await peers.close()


async def test_callers_show_a_certificate_where_they_have_to(tmp_path: Path) -> None:
    ours = files(tmp_path / "ours", OURS.issue("identity"))
    theirs = files(tmp_path / "theirs", THEIRS.issue("identity"), THEIRS.pem)
    async with Rpc(ours, str(ours / "ca.pem")) as rpc:
        peers = rpc.peers()
        assert await call(peers) == 7
        await peers.close()
        for certificate, key in (("", ""), (str(theirs / "cert.pem"), str(theirs / "key.pem"))):
            peers = rpc.peers(grpc_certificate=certificate, grpc_key=key)
            with pytest.raises(grpc.aio.AioRpcError):
                await call(peers)
            await peers.close()


async def test_certificates_and_authority_are_replaced_under_load_and_no_call_fails(tmp_path: Path) -> None:
    old, new = OURS.issue("identity"), THEIRS.issue("identity")
    files(tmp_path, old)
    async with Rpc(tmp_path, str(tmp_path / "ca.pem")) as rpc:
        peers, done, stop = rpc.peers(), 0, asyncio.Event()

        async def load() -> None:
            nonlocal done
            while not stop.is_set():
                assert await call(peers, "slow" if done % 10 == 0 else "identity") == 7
                done += 1

        async def go_on() -> None:
            goal = done + 40
            while done < goal and not any(t.done() for t in running):
                await asyncio.sleep(0.01)

        running = [asyncio.create_task(load()) for _ in range(4)]
        await go_on()
        # The order that docs/operations/security.md tells: trust both, show the new one, trust only the new.
        for pair, ca in ((old, OURS.pem + THEIRS.pem), (new, OURS.pem + THEIRS.pem), (new, THEIRS.pem)):
            files(tmp_path, pair, ca)
            await go_on()
        stop.set()
        await asyncio.gather(*running)
        stranger = rpc.peers()  # a process that starts now
        assert await call(stranger) == 7
        await stranger.close()
        await peers.close()


async def test_a_new_connection_is_shown_the_new_certificate(tmp_path: Path) -> None:
    old, new = OURS.issue("identity"), OURS.issue("identity")
    files(tmp_path, old)
    async with Rpc(tmp_path) as rpc:
        assert await rpc.shown() == old.serial
        files(tmp_path, new)
        assert await rpc.shown() == new.serial


# ---- Kafka


class TlsBroker(kafka.Throwaway):
    def _prepare(self) -> None:
        super()._prepare()
        self.scram, self.mutual = free_port(), free_port()
        ports = Ports(self.port, self._controller_port, scram=self.scram, mutual=self.mutual)
        listen(self._configuration, ports, OURS.issue("broker"), OURS.pem)


@pytest.fixture(scope="module")
def broker() -> Iterator[TlsBroker]:
    folder = Path(tempfile.mkdtemp(prefix="lyceum-kafka-tls-"))
    users = {user: f"the password of {user}" for user in (*CONTRACTED, "admin", "controller")}
    made = TlsBroker(folder, cache_folder(), free_port(), free_port(), users)
    yield made
    made.kill()
    shutil.rmtree(folder)


def by_password(broker: TlsBroker, ca: Path) -> KitSettings:
    return KitSettings(
        kafka=f"127.0.0.1:{broker.scram}",
        kafka_user="identity",
        kafka_password=SecretStr(broker.passwords["identity"]),
        kafka_tls=True,
        kafka_ca=str(ca),
    )


def by_certificate(broker: TlsBroker, folder: Path) -> KitSettings:
    return KitSettings(
        kafka=f"127.0.0.1:{broker.mutual}",
        kafka_tls=True,
        kafka_ca=str(folder / "ca.pem"),
        kafka_certificate=str(folder / "cert.pem"),
        kafka_key=str(folder / "key.pem"),
    )


async def send(options: dict[str, Any]) -> None:
    """As the relay's clients: the topic, then an event."""
    await ensure_topics([feeds()["identity"]], options, 1)
    producer: Any = AIOKafkaProducer(**options)
    async with producer:
        await producer.send_and_wait(feeds()["identity"].topic, b"hello", partition=0)


async def test_kafka_by_password_over_tls(broker: TlsBroker, tmp_path: Path) -> None:
    ours = files(tmp_path / "ours", OURS.issue("identity"))
    settings = by_password(broker, ours / "ca.pem")
    await send(kafka_options(settings))
    async with make_broker(settings, "enrollment") as consuming:
        assert await consuming.ping(timeout=5)
    theirs = files(tmp_path / "theirs", OURS.issue("identity"), THEIRS.pem)
    for wrong in (
        settings.model_copy(update={"kafka_ca": str(theirs / "ca.pem")}),
        settings.model_copy(update={"kafka_ca": ""}),  # the system knows nobody of ours
        settings.model_copy(update={"kafka_ca": "", "kafka_tls": False}),
    ):
        with pytest.raises(KafkaConnectionError):
            await send(kafka_options(wrong))


async def test_kafka_by_certificate_which_is_replaced(broker: TlsBroker, tmp_path: Path) -> None:
    files(tmp_path, OURS.issue("identity"))
    settings = by_certificate(broker, tmp_path)
    options = kafka_options(settings)  # made once, as a service does
    await send(options)
    async with make_broker(settings, "enrollment") as consuming:
        assert await consuming.ping(timeout=5)
    with pytest.raises(KafkaConnectionError):
        await send(kafka_options(settings.model_copy(update={"kafka_certificate": "", "kafka_key": ""})))
    # Somebody else's certificate, to see which one a new connection shows.
    files(tmp_path, OURS.issue("catalog"))
    with pytest.raises(TopicAuthorizationFailedError):
        await send(options)
    files(tmp_path, OURS.issue("identity"))
    await send(options)


# ---- PostgreSQL: the wheel's has no OpenSSL, Debian's has

NEWEST = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), default=None)
HBA = """
local all all trust
hostssl all postgres 127.0.0.1/32 trust
hostssl all lyceum 127.0.0.1/32 scram-sha-256
hostssl all mutual 127.0.0.1/32 cert
"""


class TlsPostgres:
    def __init__(self, bin_dir: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lyceum-pg-tls-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        user = postgres.server_user()
        if user:
            shutil.chown(self.folder, user)
        data = self.folder / "data"
        subprocess.run(
            bound([bin_dir / "initdb", "-D", data, "-U", "postgres", "--no-sync"], signal.SIGKILL, user=user),
            cwd="/",
            env=postgres.environment(),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        (data / "pg_hba.conf").write_text(HBA)
        self.show(OURS.issue("postgres"))
        (self.folder / "ca.pem").write_bytes(OURS.pem)
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "ssl": "on",
            "ssl_ca_file": self.folder / "ca.pem",
            "ssl_cert_file": self.folder / "cert.pem",
            "ssl_key_file": self.folder / "key.pem",
        }
        self._log = (self.folder / "log").open("wb")
        command = [bin_dir / "postgres", "-D", data, *(f"--{k}={v}" for k, v in options.items())]
        self.process = subprocess.Popen(
            bound(command, signal.SIGQUIT, user=user),
            cwd="/",
            env=postgres.environment(),
            stderr=self._log,
        )

    def show(self, pair: Pair) -> None:
        for name, content in (("cert", pair.certificate), ("key", pair.key)):
            file = self.folder / f"{name}.pem"
            file.write_bytes(content)
            file.chmod(0o600)
            if user := postgres.server_user():
                shutil.chown(file, user)

    def url(self, user: str, **query: object) -> str:
        asked = "&".join(f"{k}={v}" for k, v in query.items())
        return f"postgresql://{user}@127.0.0.1:{self.port}/postgres?{asked}"

    def stop(self) -> None:
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()
        self._log.close()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
async def tls_postgres() -> AsyncIterator[TlsPostgres]:
    if NEWEST is None:
        pytest.skip("no PostgreSQL with OpenSSL: apt-get install postgresql")
    server = TlsPostgres(NEWEST)
    try:
        admin = await postgres.connect(
            server.url("postgres", sslmode="verify-full", sslrootcert=server.folder / "ca.pem"), patience=20
        )
        await admin.execute("CREATE ROLE lyceum LOGIN PASSWORD 'secret'; CREATE ROLE mutual LOGIN")
        await admin.close()
        yield server
    finally:
        server.stop()


async def encrypted(url: str) -> bool:
    """Asked through both ways that the services have."""
    engine = db.make_engine(url)
    about = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    try:
        async with engine.connect() as conn:
            pooled = (await conn.execute(text(about))).scalar_one()
    finally:
        await engine.dispose()
    held = await db.connect(url, application="relay")
    try:
        return pooled is True is await held.fetchval(about)
    finally:
        await held.close()


async def test_postgres_by_password_over_tls(tls_postgres: TlsPostgres, tmp_path: Path) -> None:
    url = partial(tls_postgres.url, "lyceum:secret", sslmode="verify-full")
    assert await encrypted(url(sslrootcert=tls_postgres.folder / "ca.pem"))
    (tmp_path / "theirs.pem").write_bytes(THEIRS.pem)
    for wrong in (
        url(sslrootcert=tmp_path / "theirs.pem"),
        tls_postgres.url("lyceum:secret", sslmode="disable"),
    ):
        with pytest.raises((ssl.SSLCertVerificationError, DBAPIError)) as e:
            await encrypted(wrong)
        assert "certificate verify failed" in str(e.value) or "no encryption" in str(e.value)


async def test_postgres_by_certificate(tls_postgres: TlsPostgres, tmp_path: Path) -> None:
    files(tmp_path, OURS.issue("mutual"))
    url: Callable[..., str] = partial(
        tls_postgres.url,
        sslmode="verify-full",
        sslrootcert=tmp_path / "ca.pem",
        sslcert=tmp_path / "cert.pem",
    )
    assert await encrypted(url("mutual", sslkey=tmp_path / "key.pem"))
    files(tmp_path, OURS.issue("somebody-else"))
    with pytest.raises(DBAPIError, match="certificate authentication failed"):
        await encrypted(url("mutual", sslkey=tmp_path / "key.pem"))


async def test_a_server_at_another_address_is_not_taken(tls_postgres: TlsPostgres) -> None:
    """And a pool takes up what was replaced: its next connection reads the files."""
    admin = await postgres.connect(tls_postgres.url("postgres", sslmode="require"))
    url = tls_postgres.url("lyceum:secret", sslmode="verify-full", sslrootcert=tls_postgres.folder / "ca.pem")
    try:
        tls_postgres.show(OURS.issue("postgres", "127.0.0.2"))
        await admin.execute("SELECT pg_reload_conf()")

        async def refused() -> bool:
            try:
                return not await encrypted(url)
            except ssl.SSLCertVerificationError as e:
                return "not valid for" in str(e)

        async with asyncio.timeout(10):
            while not await refused():
                await asyncio.sleep(0.05)
            tls_postgres.show(OURS.issue("postgres"))
            await admin.execute("SELECT pg_reload_conf()")
            while await refused():
                await asyncio.sleep(0.05)
    finally:
        await admin.close()
