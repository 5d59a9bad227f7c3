"""The broker with TLS, where users are known by a password or by a certificate, as deploy/k8s's `ha` has it."""

from dataclasses import dataclass, replace
from pathlib import Path

from lyceum_local.config import Config
from lyceum_local.supervisor import Part
from lyceum_local.testing.authority import Pair, mount

LISTENERS = """
listeners=CLIENT://127.0.0.1:{port},SCRAM://127.0.0.1:{scram},MUTUAL://127.0.0.1:{mutual},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENT://127.0.0.1:{port},SCRAM://127.0.0.1:{scram},MUTUAL://127.0.0.1:{mutual}
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,SCRAM:SASL_SSL,MUTUAL:SSL,CONTROLLER:SASL_PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={folder}/store.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.mutual.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^CN=(.*)$/$1/
"""


@dataclass(frozen=True)
class Ports:
    port: int  # for passwords in the clear, as always
    controller: int
    scram: int  # TLS, and a password
    mutual: int  # TLS, and a certificate whose common name is the user's


def listen(configuration: Path, ports: Ports, shown: Pair, trusted: bytes) -> None:
    """Two more listeners for the broker of this configuration, from its next start on. `shown`: its own certificate;
    `trusted`: PEM of the authorities that sign users."""
    folder = configuration.parent
    (folder / "store.pem").write_bytes(shown.key + shown.certificate)
    (folder / "ca.pem").write_bytes(trusted)
    with configuration.open("a") as more:
        more.write(LISTENERS.format(folder=folder, **vars(ports)))


@dataclass
class Users:
    """The services' certificates, each in a folder as a cluster mounts it, and what the broker shows and trusts."""

    folder: Path
    scram: int
    mutual: int
    shown: Pair
    trusted: bytes

    def give(self, service: str, pair: Pair, ca: bytes) -> None:
        """Anew or for the first time; `ca`: whom the service trusts to sign brokers."""
        mount(self.folder / service, ca=ca, cert=pair.certificate, key=pair.key)

    def environment(self, service: str) -> dict[str, str]:
        own = self.folder / service
        return {
            "LYCEUM_KAFKA": f"127.0.0.1:{self.mutual}",
            "LYCEUM_KAFKA_USER": "",
            "LYCEUM_KAFKA_PASSWORD": "",
            "LYCEUM_KAFKA_TLS": "true",
            "LYCEUM_KAFKA_CA": str(own / "ca.pem"),
            "LYCEUM_KAFKA_CERTIFICATE": str(own / "cert.pem"),
            "LYCEUM_KAFKA_KEY": str(own / "key.pem"),
        }

    def admitted(self, broker: Part, config: Config) -> Part:
        """The broker, which lets them in with what they show at its next start."""

        def before() -> None:
            if broker.before:
                broker.before()
            ports = Ports(
                config.ports["kafka"], config.ports["kafka_controller"], scram=self.scram, mutual=self.mutual
            )
            listen(config.data / "kafka" / "server.properties", ports, self.shown, self.trusted)

        return replace(broker, before=before)
