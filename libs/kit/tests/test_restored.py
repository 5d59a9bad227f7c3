"""Was the ledger restored, and where do two histories part: the decisions, without a database or a broker."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyceum_kit.envelope import Meta, Record
from lyceum_kit.feed import Head
from lyceum_kit.intake import Place, standing
from lyceum_kit.reconcile import first_difference
from lyceum_kit.restored import DAY_MS, Position, Verdict, judge, moved, next_generation

NOW = 1_800_000_000_000
FIRST, SECOND, THIRD = NOW - 3000, NOW - 2000, NOW - 1000


def on_kafka(position: int, generation: int, id: str = "", *, readable: bool = True) -> Record:
    meta = Meta(
        UUID(int=1), "t", "s", "x", 1, datetime.now(UTC), UUID(int=1), "identity", 0, position, generation
    )
    return Record(
        "identity",
        0,
        position,
        generation,
        "",
        id or f"e{position}",
        "k",
        b"",
        (),
        meta if readable else None,
    )


def judged(head: Head, *records: Record) -> Verdict:
    ids: dict[Position, str] = {(0, p): f"e{p}" for p in range(1, head.head + 1)}
    return judge([head], ids, records, now_ms=NOW)


def test_kafka_with_what_the_ledger_has_says_nothing() -> None:
    assert judged(Head(9, 9, ((FIRST, 1),)), *(on_kafka(p, FIRST) for p in range(1, 10))) == Verdict(
        newest=FIRST
    )


def test_an_empty_kafka_says_nothing() -> None:
    assert judged(Head(9, 9, ((FIRST, 1),))) == Verdict(newest=FIRST)


def test_quiet_or_writing_on_kafka_is_beyond_the_ledger() -> None:
    verdict = judged(Head(5, 5, ((FIRST, 1),)), on_kafka(8, FIRST))
    assert "beyond the ledger's head 5" in verdict.restored
    assert not verdict.forked


def test_once_raised_the_same_records_say_nothing_any_more() -> None:
    assert judged(Head(12, 12, ((FIRST, 1), (SECOND, 6))), on_kafka(8, FIRST, "lost")) == Verdict(
        newest=SECOND
    )


def test_the_same_backup_restored_again_kafka_has_a_generation_the_ledger_never_knew() -> None:
    verdict = judged(Head(5, 5, ((FIRST, 1),)), on_kafka(4, FIRST), on_kafka(6, SECOND))
    assert "later generation" in verdict.restored
    assert next_generation(NOW, verdict.newest) > SECOND


def test_a_generation_the_ledger_never_knew_is_settled_by_a_later_one() -> None:
    head = Head(7, 7, ((FIRST, 1), (THIRD, 6)))
    assert judged(head, on_kafka(6, SECOND, "between"), on_kafka(8, SECOND, "between")) == Verdict(
        newest=THIRD
    )


def test_two_events_under_one_number_are_for_a_person() -> None:
    verdict = judged(
        Head(9, 9, ((FIRST, 1),)), on_kafka(6, FIRST, "lost"), on_kafka(7, FIRST), on_kafka(11, FIRST)
    )
    assert "Kafka has event lost where the ledger has e6" in verdict.forked
    assert verdict.forks == ((0, 6),)


@pytest.mark.parametrize(
    "record", [on_kafka(99, FIRST, readable=False), on_kafka(0, FIRST), on_kafka(99, NOW + 2 * DAY_MS)]
)
def test_what_no_relay_wrote_says_nothing(record: Record) -> None:
    assert judged(Head(5, 5, ((FIRST, 1),)), record) == Verdict(newest=FIRST)


def test_generations_only_rise_also_when_the_clock_does_not() -> None:
    assert next_generation(NOW, FIRST) == NOW
    assert next_generation(NOW, NOW + 5) == NOW + 6


def test_another_server_counts_from_the_second_look_on() -> None:
    assert not moved("", "system 1, timeline 1")
    assert not moved("system 1, timeline 1", "system 1, timeline 1")
    assert "timeline 2" in moved("system 1, timeline 1", "system 1, timeline 2")


HEAD = Head(9, 9, ((FIRST, 1), (SECOND, 6)), "e9")


def test_a_place_within_the_ledgers_history_stands() -> None:
    assert standing(Place(), HEAD) == ""
    assert standing(Place(5, "e4", FIRST), HEAD) == ""
    assert standing(Place(9, "e8", SECOND), HEAD) == ""
    assert standing(Place(10, "e9", SECOND), HEAD) == ""


def test_a_place_beyond_the_head_does_not_stand() -> None:
    assert "beyond" in (standing(Place(11, "e10", SECOND), HEAD) or "")


def test_a_place_at_the_head_with_another_event_does_not_stand() -> None:
    assert "was lost here and is e9 there" in (standing(Place(10, "lost", FIRST), HEAD) or "")


def test_a_place_of_another_generation_is_asked_for() -> None:
    place = Place(8, "e7", FIRST)  # position 7 is the second generation's
    assert standing(place, HEAD) is None
    assert standing(place, HEAD, "e7") == ""
    assert standing(place, HEAD, "new") != ""


@given(st.integers(1, 200), st.integers(0, 200), st.data())
async def test_the_first_difference_is_found_wherever_it_is(
    low: int, count: int, data: st.DataObject
) -> None:
    end = low + count
    first = data.draw(st.integers(low, end))
    asked: list[int] = []

    async def same(position: int) -> bool:
        asked.append(position)
        return position < first

    assert await first_difference(low, end, same) == first
    assert len(asked) <= count.bit_length()


def numbered(outbox: Sequence[tuple[int, float]], passes: Sequence[float], limit: int) -> list[int]:
    """As the relay does: at each pass what has committed by then, in order of the outbox, `limit` at once."""
    done: list[int] = []
    for now in passes:
        visible = sorted(seq for seq, at in outbox if at <= now and seq not in done)
        done += visible[:limit]
    return done


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 6), st.integers(1, 4), st.integers(0, 10**6))
def test_the_same_event_at_the_same_position_means_the_same_history(
    before: int, after: int, new: int, limit: int, seed: int
) -> None:
    """What `standing` trusts in. A backup at time 1 with some events committed and not numbered; the old history goes
    on until time 2; the restored one numbers what it kept, and new events, which have later numbers of the outbox."""
    r = random.Random(seed)
    sequence = r.sample(range(before + after), before + after)
    kept = [(seq, r.random()) for seq in sequence[:before]]
    lost = [(seq, 1 + r.random()) for seq in sequence[before:]]
    fresh = [(before + after + n, 1 + r.random()) for n in range(new)]

    def passes() -> list[float]:
        return sorted(1 + r.random() for _ in range(4)) + [2.0] * 30

    old, restored = numbered(kept + lost, passes(), limit), numbered(kept + fresh, passes(), limit)
    for position, (a, b) in enumerate(zip(old, restored, strict=False)):
        if a == b:
            assert old[:position] == restored[:position]
