"""Which host name reaches what."""

from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse

from lyceum_local.gateway import Gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    (tmp_path / "index.html").write_text("the app")
    names = ("identity", "catalog", "assessment")
    return Gateway(
        {name: PlainTextResponse(name) for name in names}, app_port=8080, content_port=8081, web=tmp_path
    )


async def get(gateway: Gateway, url: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway)) as client:
        return await client.get(url)


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("http://127.0.0.1:8080/", "the app"),
        ("http://127.0.0.1:8080/catalog/any", "the app"),
        ("http://127.0.0.1:8080/api/identity/me", "identity"),
        ("http://localhost:8080/api/identity/me", "identity"),
        ("http://localhost:8080/verify/1", "assessment"),
        ("http://abc.localhost:8081/index.html", "catalog"),
        ("http://abc.localhost:8081/__lms/run", "assessment"),
    ],
)
async def test_a_name_reaches(gateway: Gateway, url: str, answer: str) -> None:
    assert (await get(gateway, url)).text == answer


@pytest.mark.parametrize(
    "url",
    ["http://evil.example:8080/api/identity/me", "http://a.b.localhost:8081/", "http://localhost:8081/"],
)
async def test_a_foreign_name_reaches_nothing(gateway: Gateway, url: str) -> None:
    assert (await get(gateway, url)).status_code == 421


async def test_pages_have_one_origin(gateway: Gateway) -> None:
    answer = await get(gateway, "http://localhost:8080/learn/1/2?from=mail")
    assert (answer.status_code, answer.headers["location"]) == (
        307,
        "http://127.0.0.1:8080/learn/1/2?from=mail",
    )
