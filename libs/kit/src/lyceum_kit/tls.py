"""Certificates are files, which Kubernetes mounts and replaces when they are renewed. Nobody is restarted for that: each
new connection is made with what the files hold by then. A certificate whose key is not there yet is not taken."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True)
class Files:
    """PEM: authorities to trust, a certificate of one's own and its key. Empty: there is none."""

    ca: str = ""
    certificate: str = ""
    key: str = ""

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Another one when a file was replaced."""
        found = [Path(path).stat() for path in (self.ca, self.certificate, self.key) if path]
        return tuple((f.st_ino, f.st_mtime_ns) for f in found)

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Authorities, certificate, key."""
        ca, certificate, key = (
            Path(p).read_bytes() if p else None for p in (self.ca, self.certificate, self.key)
        )
        return ca, certificate, key

    def context(self) -> ssl.SSLContext:
        """For a client; without authorities of one's own the system's are trusted. Fails where two do not belong together."""
        context = ssl.create_default_context(cafile=self.ca or None)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context


class Renewed(Generic[T]):
    """Something made of files, made again when they were replaced. What cannot be read leaves the old one in place."""

    def __init__(self, files: Files, make: Callable[[Files], T]) -> None:
        """Fails where the files are not good from the start."""
        self._files, self._make = files, make
        self._stamp = files.stamp()
        self._made = self._checked()

    def __call__(self) -> tuple[T, bool]:
        """The thing, and whether it is another one than the last time."""
        try:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return self._made, False
            made = self._checked()
            if stamp != self._files.stamp():
                return self._made, False  # replaced while they were read: the next connection looks again
        except (OSError, ssl.SSLError) as e:
            log.warning("certificate not taken", files=str(self._files), error=f"{type(e).__name__}: {e}")
            return self._made, False
        self._stamp, self._made = stamp, made
        log.info("certificate renewed", files=str(self._files))
        return made, True

    def _checked(self) -> T:
        self._files.context()
        return self._make(self._files)


class ClientContext(ssl.SSLContext):
    """What asyncio's clients take for a context, which for each connection is the newest one."""

    current: Renewed[ssl.SSLContext]

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self.current()[0].wrap_bio(*args, **kwargs)


def client_context(files: Files) -> ssl.SSLContext:
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.current = Renewed(files, Files.context)
    return context
