from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from lyceum_local.gateway import Gateway


@pytest.fixture
def http(tmp_path: Path) -> httpx.AsyncClient:
    """The front door, with an app behind it in place of each service that says who answered."""
    names = ("identity", "catalog", "assessment", "analytics")
    services: dict[str, ASGIApp | str] = {name: PlainTextResponse(name) for name in names}
    gateway = Gateway(
        services,
        app_origin="http://127.0.0.1:8080",
        content_origin="http://{package}.localhost:8081",
        web=tmp_path,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(gateway), base_url="http://127.0.0.1:8080")


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/api/identity/me", "identity"),
        ("/api/identity/readyz", "identity"),
        ("/api/analytics/metrics/pass_rate", "analytics"),
        ("/verify/1", "assessment"),
        ("/badges/issuers/1", "assessment"),
    ],
)
async def test_a_path_leads_to_its_service(http: httpx.AsyncClient, path: str, service: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.text) == (200, service)


@pytest.mark.parametrize(
    "path", ["/api/identity/metrics", "/api/identity/%6detrics", "/api/nobody/me", "/api/"]
)
async def test_what_is_not_public_is_not_served(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


@pytest.mark.parametrize("up", ["../", "%2e%2e/", "..%2f", "%2e%2e%2f", "..%5c", "/", "assets/../../"])
async def test_the_web_apps_folder_is_not_left(http: httpx.AsyncClient, tmp_path: Path, up: str) -> None:
    (tmp_path / "index.html").write_text("the app")
    (tmp_path / "app.css").write_text("a style")
    secret = tmp_path.parent / "secret.txt"
    secret.write_text("a secret")
    assert (await http.get("/app.css")).text == "a style"
    for path in (f"/{up}secret.txt", f"/{up * 8}etc/passwd", f"/{up}{tmp_path.parent.name}/secret.txt"):
        # As the bytes of a request have it: a client would walk the dots itself.
        url = httpx.URL("http://127.0.0.1:8080").copy_with(raw_path=path.encode())
        answer = await http.send(httpx.Request("GET", url))
        assert answer.text in ("the app", "Not found.\n"), path


async def test_packages_have_hosts_of_their_own_and_nobody_else_gets_in(http: httpx.AsyncClient) -> None:
    package = {"host": "5f0c4a2e.localhost:8081"}
    assert (await http.get("/index.html", headers=package)).text == "catalog"
    assert (await http.get("/__lms/run", headers=package)).text == "assessment"
    for host in ("evil.example", "a.b.localhost:8081", "127.0.0.1:9999"):
        assert (await http.get("/api/identity/me", headers={"host": host})).status_code == 421


async def test_pages_have_one_origin(http: httpx.AsyncClient) -> None:
    """Another name of this machine would be another origin, with a session of its own."""
    answer = await http.get("/learn/1/2?from=mail", headers={"host": "localhost:8080"})
    assert (answer.status_code, answer.headers["location"]) == (
        307,
        "http://127.0.0.1:8080/learn/1/2?from=mail",
    )
    assert (await http.get("/api/identity/me", headers={"host": "localhost:8080"})).text == "identity"
