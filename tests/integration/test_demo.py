"""The demo itself: run again it doubles nothing, and a run that was killed is finished by the next one."""

import io
import subprocess
import sys
import time
from typing import Any

from rich.console import Console

from lyceum_local.demo import memory
from lyceum_local.demo.numbers import Outcome, heads
from lyceum_local.demo.play import play
from lyceum_local.demo.screen import Screen, show
from lyceum_local.testing import Platform

RUN = """
import sys
from pathlib import Path
from rich.console import Console
from lyceum_local import config
from lyceum_local.demo.play import play
from lyceum_local.demo.screen import Screen
play(config.load(Path(sys.argv[1])), Screen(Console()), people=int(sys.argv[2]), slug=sys.argv[3])
"""


def run(platform: Platform, slug: str, people: int) -> Outcome:
    return play(platform.config, Screen(Console(file=io.StringIO())), people=people, slug=slug)


def events(platform: Platform) -> dict[str, int]:
    """How many each feed has."""
    found: dict[str, int] = {}
    for (feed, _), head in heads(list(platform.reports().values())).items():
        found[feed] = found.get(feed, 0) + head
    return found


def counted(outcome: Outcome) -> list[Any]:
    """What does not depend on when it happened."""
    overview = {k: v for k, v in outcome.numbers.overview.items() if k != "as_of"}
    return [overview, outcome.numbers.by_department, outcome.numbers.drop_off]


def test_a_second_run_doubles_nothing_and_a_killed_one_ends_like_the_others(
    platform: Platform, played: Outcome
) -> None:
    overview = played.numbers.overview
    assert overview["enrolled"] > overview["completed"] > overview["withdrawn"] > 0
    assert overview["certificates"] >= 1
    assert set(played.hire_ms) == {"Ada Lovelace", "Alan Turing"}

    file = platform.config.data / "demo.json"
    kept = memory.recall(file)
    assert kept
    before = events(platform)
    assert run(platform, "demo", kept.people) == played
    assert events(platform) == before
    memory.keep(file, kept, learned=False)  # so that everybody looks again at what is left to learn
    assert run(platform, "demo", kept.people) == played
    assert events(platform) == before

    killed = subprocess.Popen(
        [sys.executable, "-c", RUN, str(platform.config.data), str(kept.people), "cut"],
        stdout=subprocess.DEVNULL,
    )
    try:
        # Half of what people do in the demo.
        half = before["assessment"] + before["assessment"] // 2
        end = time.monotonic() + 120
        while events(platform)["assessment"] < half:
            assert killed.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        killed.kill()
        killed.wait()
    assert counted(run(platform, "cut", kept.people)) == counted(played)


async def test_every_link_answers_a_browser(platform: Platform, played: Outcome) -> None:
    async with platform.http() as browser:
        for name, link in played.links.items():
            answer = await browser.get(link, headers={"accept": "text/html"})
            assert answer.status_code == 200, name
        verified = (await browser.get(played.links["Ada's certificate, for everybody"])).text
    assert "Ada Lovelace" in verified


def test_what_the_demo_shows_in_the_end(played: Outcome) -> None:
    page = io.StringIO()
    show(played, Console(file=page, width=120))
    for word in ("Ada Lovelace", "Engineering", "compliance", "Secure coding quiz", *played.links.values()):
        assert word in page.getvalue()
