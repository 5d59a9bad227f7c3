"""When something went wrong, or before it does: parked, rebuild, backup, restore, reconcile, vacuum."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from lyceum_local import backup as backups
from lyceum_local import config as configuration
from lyceum_local import supervisor
from lyceum_local.cli.terminal import Data, Service, app, console, folder, group, installed, known, stop
from lyceum_local.paths import LEDGER_SERVICES, SERVICES
from lyceum_local.remote import Operator

parked_app = group("parked", "Events that could not be handled.")


@parked_app.command("list")
def parked_list(service: Annotated[str | None, typer.Argument()] = None, data: Data = None) -> None:
    """Parked events of all services, or of one."""
    operator = Operator(installed(data))
    table = Table("service", "n", "feed", "key", "type", "tries", "parked at", "reason")
    for name in [known(service)] if service else SERVICES:
        report = operator.try_get(f"/api/{name}/system/parked")
        items: list[dict[str, Any]] = report["items"] if report else []
        for item in items:
            table.add_row(
                name,
                str(item["n"]),
                item["feed"],
                str(item["key"]),
                str(item.get("type", "")),
                str(item.get("tries", "")),
                str(item.get("parked_at", "")),
                str(item["reason"]),
            )
    console.print(table if table.row_count else "Nothing is parked.")


@parked_app.command("show")
def parked_show(service: Service, n: int, data: Data = None) -> None:
    """One parked event with its headers, body and error."""
    console.print_json(data=Operator(installed(data)).call("GET", f"/api/{known(service)}/system/parked/{n}"))


@parked_app.command("replay")
def parked_replay(service: Service, n: int, data: Data = None) -> None:
    """Handle it and all later ones of its key, in order."""
    handled = Operator(installed(data)).call("POST", f"/api/{known(service)}/system/parked/{n}/replay")[
        "handled"
    ]
    console.print(f"{handled} events handled.")


@parked_app.command("discard")
def parked_discard(
    service: Service,
    n: int,
    why: Annotated[str, typer.Option(help="The reason, kept with the event.")],
    data: Data = None,
) -> None:
    """Let one event go, for a stated reason."""
    Operator(installed(data)).call("POST", f"/api/{known(service)}/system/parked/{n}/discard", {"why": why})
    console.print("Discarded; its trace stays.")


@app.command()
def rebuild(service: Service, data: Data = None) -> None:
    """Make a service's projections anew from the ledgers, while it goes on answering."""
    operator, path = Operator(installed(data)), f"/api/{known(service)}/system/rebuild"
    with console.status(f"Rebuilding {service}") as line:
        now = operator.call("POST", path)
        while now["running"]:
            time.sleep(0.5)
            now = operator.call("GET", path)
            done, of = (sum(table[n] for table in now["tables"]) for n in ("events", "ledger"))
            line.update(f"Rebuilding {service}: {done:,} of {of:,} events")
    if now["error"]:
        stop(f"The rebuild ended early: {now['error']}")
    table = Table("table", Column("events", justify="right"), box=None)
    for rebuilt in now["tables"]:
        table.add_row(rebuilt["table"], f"{rebuilt['events']:,}")
    console.print(table)


@app.command()
def backup(
    to: Annotated[Path, typer.Argument(help="A folder that is not there yet. It will hold secrets.")],
    data: Data = None,
) -> None:
    """Copy all that cannot be made anew, at one instant, while people work: ledgers, content, secrets."""
    config = installed(data)
    with console.status("Backing up"):
        made = backups.back_up(config, to.expanduser().absolute())
    console.print(f"Backed up as of {made.taken_at} to {made.folder}.", soft_wrap=True)


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(help="A folder that ./lyceum backup made.")],
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Make this installation what a backup holds. What came after the backup is gone from it."""
    found = backups.read(backup.expanduser().absolute())
    at = folder(data)
    if not yes and configuration.load(at) is not None:
        typer.confirm(f"Replace the ledgers in {at} by those of {found.taken_at}?", abort=True)
    with console.status("Restoring"):
        before = backups.restore(at, found)
    console.print(f"Restored as of {found.taken_at}. Start it: ./lyceum up")
    if before:
        console.print(
            f"The ledgers as they were are in {before}; delete them when all is well.", soft_wrap=True
        )


@app.command()
def reconcile(
    service: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(SERVICES)}; all without it.")
    ] = None,
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """After a restore: show where services and ledgers have different histories, and mend it."""
    operator = Operator(installed(data))
    some = [known(service)] if service else SERVICES
    with console.status("Waiting for the relays"):
        let_relays_look(operator, [name for name in some if name in LEDGER_SERVICES])
    wrong = [name for name in some if show_reconciliation(operator, name, "GET")]
    if not wrong:
        console.print("Everything agrees.")
        return
    if not yes:
        typer.confirm(f"Mend {', '.join(wrong)}?", abort=True)
    left = [name for name in wrong if show_reconciliation(operator, name, "POST")]
    if left:
        stop(f"Not mended: {', '.join(left)}.")


def let_relays_look(operator: Operator, services: Sequence[str], *, seconds: float = 20) -> None:
    """Just after a start a relay has not held its ledger against Kafka yet. What it mends by itself, such as a ledger
    that was restored and has not gone on, is no question to ask anybody. Not for ever: Kafka may be down."""
    end = time.monotonic() + seconds
    for service in services:
        while time.monotonic() < end:
            relay = operator.call("GET", f"/api/{service}/system/feeds")["relay"]
            if relay["active"] or relay["error"].startswith("red:"):
                break
            time.sleep(0.2)


def show_reconciliation(operator: Operator, service: str, method: str) -> bool:
    """True when there is trouble."""
    report = operator.call(method, f"/api/{service}/system/reconcile")
    for line in report["told"]:
        console.print(line, markup=False, soft_wrap=True)
    return bool(report["trouble"])


@app.command()
def vacuum(data: Data = None) -> None:
    """Take what was erased out of PostgreSQL's files too, while everything runs."""
    import asyncio

    from lyceum_local import vacuum as vacuums

    config = installed(data)
    if supervisor.running(config.data) is None:
        stop("The platform is down: run ./lyceum up first.")
    with console.status("Rewriting tables and log"):
        asyncio.run(vacuums.vacuum(config))
    console.print("What was erased is gone from PostgreSQL's files.")
