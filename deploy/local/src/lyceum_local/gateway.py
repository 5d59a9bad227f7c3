"""The one front door of a machine: app, APIs and public pages on one port, packages on another.

A package is reached under a host name of its own, `<package>.localhost`, which makes it an origin of its own:
another port of the same host would share the app's cookies. In a cluster the Gateway API's routes may do this work,
all but the app's own pages.
"""

import asyncio
import hashlib
import mimetypes
from collections.abc import AsyncIterator, Iterable, Mapping, MutableMapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

# No inline script anywhere in the app; packages are framed from their own origins.
APP_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:;"
    " connect-src 'self'; frame-src {content}; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
APP_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    # Packages may open windows of their own; those must not reach back into the app.
    "cross-origin-opener-policy": "same-origin-allow-popups",
    # `unload` handlers of packages save their last state; browsers are retiring the event unless it is asked for.
    "permissions-policy": "unload=*, camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
PUBLIC = {"/verify": "assessment", "/badges": "assessment"}
HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade",
}  # fmt: skip


class Gateway:
    """`targets`: each service's ASGI app when it lives in this process, else the base URL of its process.
    Origins as in the services' settings: `{package}` is the first label of a package's host."""

    def __init__(
        self, targets: Mapping[str, ASGIApp | str], *, app_origin: str, content_origin: str, web: Path
    ) -> None:
        self._targets = {name: Proxy(t) if isinstance(t, str) else t for name, t in targets.items()}
        self._app_origin = app_origin
        self._app_host = urlsplit(app_origin).netloc
        self._nickname = self._app_host.replace("127.0.0.1", "localhost")
        self._content_suffix = urlsplit(content_origin).netloc.removeprefix("{package}")
        self._web = StaticApp(web, APP_POLICY.format(content=content_origin.replace("{package}", "*")))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = _header(scope, b"host").lower()
        if host.endswith(self._content_suffix) and "." not in host.removesuffix(self._content_suffix):
            service = "assessment" if scope["path"].startswith("/__lms/") else "catalog"
            await self._targets[service](scope, receive, send)
        elif host == self._app_host or (host == self._nickname and _is_call(scope["path"])):
            await self._route(scope, receive, send)
        elif host == self._nickname:
            # Packages may be framed by the app's one origin only, so pages are shown under that.
            await RedirectResponse(f"{self._app_origin}{_target(scope)}")(scope, receive, send)
        else:
            # A name that some attacker's DNS points here must not reach the APIs.
            answer = PlainTextResponse("This host name is not served here.\n", status_code=421)
            await answer(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith("/api/"):
            service, _, inside = path.removeprefix("/api/").partition("/")
            if service not in self._targets:
                await PlainTextResponse("There is no such service.\n", status_code=404)(scope, receive, send)
            elif inside == "metrics":
                # Prometheus scrapes each service's own port; what a platform is busy with is not for the public.
                await PlainTextResponse("Not served here.\n", status_code=404)(scope, receive, send)
            else:
                await self._targets[service](scope, receive, send)
        else:
            service = next((s for p, s in PUBLIC.items() if path == p or path.startswith(f"{p}/")), "")
            await self._targets.get(service, self._web)(scope, receive, send)


class Proxy:
    """Hands a request to another process and streams its answer."""

    def __init__(self, base_url: str) -> None:
        # No time-out on reading: uploads are checked before they are answered; the service has its own limits.
        self._client = httpx.AsyncClient(
            base_url=base_url, timeout=httpx.Timeout(60, connect=5), trust_env=False
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def body() -> AsyncIterator[bytes]:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                yield message.get("body", b"")
                more = message.get("more_body", False)

        url = httpx.URL(raw_path=_target(scope).encode("latin-1"))
        headers = [(k, v) for k, v in scope["headers"] if k.decode() not in HOP_BY_HOP]
        if scope["client"]:
            headers.append((b"x-forwarded-for", scope["client"][0].encode()))  # after what came with it
        has_body = any(k in (b"content-length", b"transfer-encoding") for k, _ in scope["headers"])
        request = self._client.build_request(
            scope["method"], url, headers=headers, content=body() if has_body else None
        )
        try:
            answer = await self._client.send(request, stream=True)
        except httpx.TransportError:
            refused = PlainTextResponse("This part is starting or down.\n", 503, {"retry-after": "1"})
            await refused(scope, receive, send)
            return
        try:
            kept = [(k.lower(), v) for k, v in answer.headers.raw if k.lower().decode() not in HOP_BY_HOP]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
            async for chunk in answer.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await answer.aclose()


class StaticApp:
    """The web app's build: hashed files for ever, `index.html` for every route of the app."""

    def __init__(self, folder: Path, policy: str) -> None:
        self._folder = folder
        self._headers = {**APP_HEADERS, "content-security-policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await asyncio.to_thread(self._answer, scope)
        await response(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("Only GET.\n", status_code=405)
        path = self._inside(scope["path"])
        asset = path is not None and path.is_file()
        if not asset and Path(scope["path"]).suffix:
            return PlainTextResponse("Not found.\n", status_code=404, headers=self._headers)
        file = path if asset and path else self._folder / "index.html"
        if not file.is_file():
            return PlainTextResponse("The web app is not built: run ./lyceum up.\n", status_code=503)
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        body, encoding = self._encoded(file, _header(scope, b"accept-encoding"))
        headers: MutableMapping[str, str] = {**self._headers, "vary": "accept-encoding"}
        if encoding:
            headers["content-encoding"] = encoding
        if "/assets/" in scope["path"] and asset:
            headers["cache-control"] = "public, max-age=31536000, immutable"
        else:
            headers["cache-control"] = "no-cache"
            headers["etag"] = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
            if _header(scope, b"if-none-match") == headers["etag"]:
                return Response(status_code=304, headers=headers)
        return Response(body, media_type=kind, headers=headers)

    def _inside(self, path: str) -> Path | None:
        file = (self._folder / path.lstrip("/")).resolve()
        return file if file.is_relative_to(self._folder.resolve()) else None

    def _encoded(self, file: Path, accepted: str) -> tuple[bytes, str]:
        for encoding, suffix in (("br", ".br"), ("gzip", ".gz")):
            packed = file.with_name(file.name + suffix)
            if encoding in accepted and packed.is_file():
                return packed.read_bytes(), encoding
        return file.read_bytes(), ""


def _is_call(path: str) -> bool:
    return path.startswith("/api/") or any(path == p or path.startswith(f"{p}/") for p in PUBLIC)


def _target(scope: Scope) -> str:
    query: bytes = scope["query_string"]
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def _header(scope: Scope, name: bytes) -> str:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((v.decode("latin-1") for k, v in headers if k == name), "")
