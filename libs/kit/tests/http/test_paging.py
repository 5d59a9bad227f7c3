"""Lists, a page at a time."""

import base64
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from lyceum_kit.http import Page, Pages, cursor, page, public, read_cursor


@pytest.fixture
def router() -> APIRouter:
    router = APIRouter()

    @router.get("/list", dependencies=[public])
    async def listed(paging: Pages) -> Page[int]:
        after = paging.place(int) or 0
        rows = list(range(after + 1, 8))[: paging.limit + 1]
        items, following = page(rows, paging, lambda n: [n])
        return Page(items=list(items), next=following)

    _ = listed
    return router


async def test_a_list_is_walked_to_its_end(web: httpx.AsyncClient) -> None:
    seen: list[int] = []
    query: dict[str, Any] = {"limit": 3}
    for _ in range(3):
        body = (await web.get("/list", params=query)).json()
        seen += body["items"]
        query["after"] = body["next"]
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert query["after"] is None


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"limit": 0}, 422),
        ({"limit": 201}, 422),
        ({"limit": "x"}, 422),
        ({"after": "!"}, 400),
        ({"after": "MQ"}, 400),
        ({"after": cursor("x")}, 400),
        ({"after": cursor("1", "2")}, 400),
        ({"after": cursor("1\0")}, 400),
        ({"after": base64.urlsafe_b64encode(b'["\\ud800"]').decode()}, 400),
        ({"after": base64.urlsafe_b64encode(b"[" * 300).decode()}, 400),
    ],
)
async def test_a_wrong_page_is_refused(web: httpx.AsyncClient, query: dict[str, Any], status: int) -> None:
    assert (await web.get("/list", params=query)).status_code == status


def test_a_cursor_comes_back_as_it_was() -> None:
    assert read_cursor(cursor("山田", 7)) == ("山田", "7")
