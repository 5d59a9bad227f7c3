"""Lists, a page at a time. A cursor is the sort key of the last row, opaque to whoever hands it back."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar, cast, overload

from fastapi import Depends, Query
from pydantic import BaseModel

from lyceum_kit.errors import Malformed

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """A list's answer. `next` goes into `?after=`; null at the end."""

    items: list[T]
    next: str | None = None


@dataclass(frozen=True)
class Paging:
    """`?limit=&after=` of a list. `after` is what `page` made of the last row; empty on the first page."""

    limit: int
    after: tuple[str, ...]

    @overload
    def place(self, kind: Callable[[str], A], /) -> A | None: ...
    @overload
    def place(self, kind: Callable[[str], A], other: Callable[[str], B], /) -> tuple[A, B] | None: ...
    def place(self, *kinds: Callable[[str], Any]) -> Any:
        """The last row's sort key, read back by the kinds of its parts; None on the first page."""
        if not self.after:
            return None
        try:
            parts: list[Any] = [kind(part) for kind, part in zip(kinds, self.after, strict=True)]
        except (ValueError, OverflowError) as e:
            raise Malformed("`after` is not a cursor of this list") from e
        return tuple(parts) if len(parts) > 1 else parts[0]


def _paging(
    limit: Annotated[int, Query(ge=1, le=200, description="Items at most")] = 50,
    after: Annotated[str | None, Query(max_length=500, description="`next` of the page before")] = None,
) -> Paging:
    return Paging(limit, read_cursor(after) if after else ())


Pages = Annotated[Paging, Depends(_paging)]


def page(
    rows: Sequence[T], paging: Paging, place: Callable[[T], Sequence[object]]
) -> tuple[Sequence[T], str | None]:
    """Cut `limit + 1` rows to a page and its `next`; `place` tells the sort key of a row."""
    shown = rows[: paging.limit]
    return shown, cursor(*place(shown[-1])) if len(rows) > paging.limit else None


def cursor(*parts: object) -> str:
    """An opaque place in a list."""
    return base64.urlsafe_b64encode(json.dumps([str(p) for p in parts]).encode()).decode().rstrip("=")


def read_cursor(text: str) -> tuple[str, ...]:
    try:
        parts: Any = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isinstance(parts, list) or not all(_storable(p) for p in cast("list[Any]", parts)):
            raise ValueError("not the parts of a key")
    except (ValueError, RecursionError) as e:
        raise Malformed("`after` is not a cursor of this list") from e
    return tuple(cast("list[str]", parts))


def _storable(part: Any) -> bool:
    # Raises ValueError, as a UnicodeEncodeError, for a lone surrogate.
    return isinstance(part, str) and b"\0" not in part.encode()
