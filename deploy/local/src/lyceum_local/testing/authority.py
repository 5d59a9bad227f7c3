"""An authority for tests, and its certificates in a folder as Kubernetes mounts them."""

from datetime import timedelta
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lyceum_kit.ids import utc_now

_versions = count()


class Pair(NamedTuple):
    """PEM."""

    certificate: bytes
    key: bytes

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.certificate).serial_number


class Authority:
    def __init__(self, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = self._sign(
            self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0)
        )

    def issue(self, name: str, address: str = "127.0.0.1") -> Pair:
        """For both sides of a connection, to a server at that address."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        at = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Pair(self._sign(subject, key.public_key(), at), private)

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
    ) -> bytes:
        now = utc_now()
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)


def mount(folder: Path, **files: bytes) -> Path:
    """As the kubelet does: whoever looks finds all of the old files or all of the new ones. `ca` is `ca.pem`."""
    now = folder / f"..{next(_versions)}"
    now.mkdir(parents=True)
    for name, content in files.items():
        (now / f"{name}.pem").write_bytes(content)
        (now / f"{name}.pem").chmod(0o600)
        if not (folder / f"{name}.pem").is_symlink():
            (folder / f"{name}.pem").symlink_to(f"..data/{name}.pem")
    (folder / "..next").symlink_to(now.name)
    (folder / "..next").rename(folder / "..data")
    return folder
