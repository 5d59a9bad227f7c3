"""What the demo shows of itself: a line for each step, and a bar while learners work."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from lyceum_local.demo.numbers import BY_DEPARTMENT, Outcome


class Screen:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    def step(self, text: str) -> None:
        passed = f"{time.monotonic() - self._began:5.1f} s  "
        self._console.print(Text.assemble((passed, "dim"), text), soft_wrap=True)

    @contextmanager
    def waiting(self, what: str) -> Generator[None]:
        with self._console.status(what):
            yield

    @contextmanager
    def counting(self, what: str, total: int) -> Generator[Callable[[], None]]:
        """A bar, or where there is no terminal a line now and then; call what it gives for each one that is done."""
        if not self._console.is_terminal:
            yield self._lines(what, total)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=self._console, transient=True) as progress:
            task = progress.add_task(what, total=total)
            yield lambda: progress.advance(task)

    def _lines(self, what: str, total: int) -> Callable[[], None]:
        done = 0

        def one_more() -> None:
            nonlocal done
            done += 1
            if done % 50 == 0:
                self.step(f"{what}: {done} of {total}")

        return one_more


def show(outcome: Outcome, console: Console) -> None:
    """The end: how fast, the numbers, and where to look."""
    for name, took in outcome.hire_ms.items():
        console.print(
            f"[bold]{took:.0f} ms[/] from HR's webhook about {name} until the courses were assigned"
        )
    if not outcome.hire_ms:
        console.print("The run that hired Ada was cut short, so nobody knows how long it took.")
    found = outcome.numbers.overview
    console.print(
        f"[bold]{found['enrolled']}[/] enrolled, [bold]{found['completed']}[/] completed,"
        f" [bold]{found['withdrawn']}[/] withdrawn, [bold]{found['overdue']}[/] overdue,"
        f" [bold]{found['certificates']}[/] certificates"
    )
    table = Table("department", *(c.replace("_", " ") for c in BY_DEPARTMENT), title="Dashboards")
    for department, row in [*outcome.numbers.by_department.items(), ("All", found)]:
        table.add_row(department, *(_shown(metric, row.get(metric)) for metric in BY_DEPARTMENT))
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(table)
    table = Table("course", "module", "enrolled", "started", "completed", title="Where learners are lost")
    last = ""
    for row in outcome.numbers.drop_off:
        first = row.course != last
        table.add_row(
            row.course if first else "", row.module, str(row.enrolled), str(row.started), str(row.completed)
        )
        last = row.course
    for column in table.columns[2:]:
        column.justify = "right"
    console.print(table)
    for name, link in outcome.links.items():
        console.print(f"[bold]{name}[/]  {link}", soft_wrap=True)


def _shown(metric: str, value: float | None) -> str:
    if value is None:
        return "–"
    return {"pass_rate": f"{value:.0%}", "compliance": f"{value:.0%}", "average_score": f"{value:.1f} %"}.get(
        metric, f"{value:.0f}"
    )
