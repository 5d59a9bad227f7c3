"""The packages' own origins: `http://<package id>.<host>/path` gives a file of that package, and nothing else.

What is in a package was written by strangers and runs in learners' browsers. So each package has an origin of its
own, where no cookie of ours lives, and answers here carry no cookie, no token and no error text. A package's id is
random (128 bits, UUIDv4), and so is its address; whoever has it may read, as with a signed URL.
"""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from starlette.types import ASGIApp, Receive, Scope, Send

from catalog.storage import ContentStore, Stored

# What ordinary packages need, and what the player's frame allows; never allow-top-navigation.
SANDBOX = "allow-scripts allow-same-origin allow-forms allow-modals allow-popups allow-downloads"
# Browsers guess no types (nosniff), so each one counts. No charset: the page's own <meta> knows better.
TYPES = {
    "html": "text/html", "htm": "text/html", "xhtml": "application/xhtml+xml", "css": "text/css",
    "js": "text/javascript", "mjs": "text/javascript", "json": "application/json", "xml": "application/xml",
    "xsd": "application/xml", "dtd": "application/xml-dtd", "txt": "text/plain", "csv": "text/csv", "vtt": "text/vtt",
    "svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif",
    "webp": "image/webp", "avif": "image/avif", "ico": "image/x-icon", "bmp": "image/bmp",
    "mp4": "video/mp4", "m4v": "video/mp4", "webm": "video/webm", "ogv": "video/ogg", "mov": "video/quicktime",
    "mp3": "audio/mpeg", "m4a": "audio/mp4", "ogg": "audio/ogg", "oga": "audio/ogg", "wav": "audio/wav", "aac": "audio/aac",
    "woff": "font/woff", "woff2": "font/woff2", "ttf": "font/ttf", "otf": "font/otf", "eot": "application/vnd.ms-fontobject",
    "pdf": "application/pdf", "wasm": "application/wasm", "zip": "application/zip",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}  # fmt: skip
_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")


class Span(NamedTuple):
    """Bytes `start` to before `end`."""

    start: int
    end: int


class ContentApp:
    """ASGI. Reads the store and nothing else: no database, no tokens."""

    def __init__(self, store: ContentStore, *, app_origin: str) -> None:
        self._store = store
        policy = (
            "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: blob:;"
            f" object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self' {app_origin};"
            f" sandbox {SANDBOX}"
        )
        self._headers = {
            "content-security-policy": policy,
            # `unload` is being retired; packages save their last state in it.
            "permissions-policy": "unload=(self), camera=(), microphone=(), geolocation=(), payment=(), usb=()",
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-resource-policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        method, label = scope["method"], _host(scope).partition(".")[0]
        if method not in ("GET", "HEAD"):
            return await self._refuse(send, 405, {"allow": "GET, HEAD"})
        # A service worker would outlive the visit and sit between the player and everything the package loads.
        if _header(scope, b"service-worker").strip().lower() == "script":
            return await self._refuse(send, 403)
        package_id = _package_id(label)
        index = await self._store.index(package_id) if package_id else None
        found = index.find(scope["path"].removeprefix("/")) if index else None
        if index is None or found is None:
            return await self._refuse(send, 404)
        await self._send_file(scope, send, index.tenant, *found)
        return None

    async def _send_file(self, scope: Scope, send: Send, tenant: UUID, name: str, file: Stored) -> None:
        etag = f'"{file.sha256[:32]}"'
        headers = {
            "content-type": TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream"),
            "etag": etag,
            "accept-ranges": "bytes",
            # A package never changes under its id. Private: only who was given the address may have it.
            "cache-control": "private, max-age=86400",
        }
        known = [tag.strip().removeprefix("W/") for tag in _header(scope, b"if-none-match").split(",")]
        if etag in known or "*" in known:
            return await self._start(send, 304, headers, body=False)
        span = requested(_header(scope, b"range"), file.size)
        if _header(scope, b"if-range") not in ("", etag):
            span = None
        if span == "unsatisfiable":
            return await self._refuse(send, 416, {"content-range": f"bytes */{file.size}"})
        part = span or Span(0, file.size)
        if span:
            headers["content-range"] = f"bytes {part.start}-{part.end - 1}/{file.size}"
        headers["content-length"] = str(part.end - part.start)
        has_body = scope["method"] == "GET" and part.end > part.start
        await self._start(send, 206 if span else 200, headers, body=has_body)
        if has_body:
            async for chunk in self._store.read(tenant, file, part.start, part.end):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        return None

    async def _start(self, send: Send, status: int, headers: dict[str, str], *, body: bool) -> None:
        everything = {**self._headers, **headers}
        raw = [(key.encode(), value.encode("latin-1")) for key, value in everything.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        if not body:
            await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, send: Send, status: int, extra: dict[str, str] | None = None) -> None:
        headers = {"content-length": "0", "cache-control": "no-store", **(extra or {})}
        await self._start(send, status, headers, body=False)


class HostSplit:
    """ASGI middleware: hosts of packages go to `content`, all others to the service. Neither reaches the other."""

    def __init__(self, app: ASGIApp, *, content: ASGIApp, content_origin: str) -> None:
        self._app = app
        self._content = content
        host = urlsplit(content_origin.replace("{package}", "package")).hostname or ""
        self._suffix = host.removeprefix("package")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and self._suffix:
            host = _host(scope)
            if host.endswith(self._suffix) and "." not in host.removesuffix(self._suffix):
                app = self._content
        await app(scope, receive, send)


def requested(header: str, size: int) -> Span | Literal["unsatisfiable"] | None:
    """The one range a request asks for; None for the whole file (no range, several, or nonsense)."""
    match = _RANGE.match(header)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    return Span(start, end) if start < end else "unsatisfiable"


def _package_id(label: str) -> UUID | None:
    try:
        package_id = UUID(label)
    except ValueError:
        return None
    # One spelling only, since each spelling would be an origin of its own.
    return package_id if str(package_id) == label else None


def _host(scope: Scope) -> str:
    host = _header(scope, b"host").lower()
    return host.rpartition(":")[0] if re.search(r":\d+$", host) else host


def _header(scope: Scope, name: bytes) -> str:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value.decode("latin-1") for key, value in headers if key == name), "")
