"""Start, stop and look: up, demo, down, reset, status, logs, doctor, compose."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lyceum_local import config as configuration
from lyceum_local import lifecycle, supervisor
from lyceum_local.cli.terminal import Data, app, console, errors, folder, installed, stop
from lyceum_local.config import Config
from lyceum_local.paths import SERVICES
from lyceum_local.remote import Operator, PlatformError, readiness


@app.command()
def up(
    data: Data = None,
    split: Annotated[
        bool | None,
        typer.Option("--split/--together", help="Each service as its own process, as in a cluster."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="The app's port; else 8080 or the next free one.")] = None,
    patience: Annotated[float, typer.Option(help="Seconds to wait until every service is ready.")] = 180,
) -> None:
    """Start everything and leave it running. Again: only what is missing."""
    show_links(start(data, console, split=split, port=port, patience=patience))


def start(
    data: Path | None,
    out: Console,
    *,
    split: bool | None = None,
    port: int | None = None,
    patience: float = 180,
) -> Config:
    began = time.monotonic()
    with out.status("Looking at what is here") as status:

        def step(text: str) -> None:
            out.print(f"[dim]{time.monotonic() - began:5.1f} s[/]  {text}")
            status.update(text)

        try:
            config = lifecycle.up(folder(data), split=split, app_port=port, patience=patience, step=step)
        except KeyboardInterrupt:
            errors.print("Interrupted. What was started goes on: see ./lyceum status, or ./lyceum down.")
            raise typer.Exit(130) from None
    out.print(f"[green]Everything is ready[/] after {time.monotonic() - began:.1f} s.")
    return config


def show_links(config: Config) -> None:
    for name, what in (
        ("App", config.app_origin),
        ("API", f"{config.app_origin}/api/identity/openapi.json, and so for each service"),
        ("gRPC", ", ".join(sorted({f"127.0.0.1:{config.grpc_port(s)}" for s in SERVICES}))),
        ("Data", str(config.data)),
    ):
        console.print(f"[bold]{name:5}[/] {what}", soft_wrap=True)


@app.command()
def demo(
    data: Data = None,
    people: Annotated[int, typer.Option(min=10, help="How many HR lists, the first time.")] = 300,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print links, numbers and ids for programs.")
    ] = False,
) -> None:
    """Start everything and play the whole story: hire, publish, learn, certify. Again: only what is missing."""
    from lyceum_local.demo.play import play
    from lyceum_local.demo.screen import Screen, show

    out = errors if as_json else console
    start(data, out)
    outcome = play(installed(data), Screen(out), people=people)
    if as_json:
        print(json.dumps(asdict(outcome), ensure_ascii=False))  # noqa: T201
    else:
        show(outcome, console)


@app.command()
def down(data: Data = None) -> None:
    """Stop everything. Nothing is lost."""
    with console.status("Stopping"):
        ran = lifecycle.down(folder(data))
    console.print("Stopped." if ran else "Nothing was running.")


@app.command()
def reset(data: Data = None, yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False) -> None:
    """Stop and delete all data: people, records, certificates, everything."""
    if configuration.load(folder(data)) is None and not (folder(data) / "postgres").exists():
        stop(f"There is no installation in {folder(data)}.")
    if not yes:
        typer.confirm(f"Delete everything in {folder(data)}?", abort=True)
    lifecycle.reset(folder(data))
    console.print("All of it is gone.")


@app.command()
def status(
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Show the operator's SQL and API credentials too.")
    ] = False,
) -> None:
    """Parts, services, feeds with next against head, healed gaps and parked events."""
    config = installed(data)
    alive = supervisor.running(config.data) is not None
    used = lifecycle.memory(config.data)
    ready = {s: readiness(config, s) for s in SERVICES} if alive else {}
    reports: dict[str, Any] = {}
    trouble = ""
    if alive:
        try:
            operator = Operator(config)
            reports = {s: r for s in SERVICES if (r := operator.try_get(f"/api/{s}/system/feeds"))}
        except PlatformError as e:
            trouble = str(e)
    parts = supervisor.read_run(config.data)
    if as_json:
        whole = {
            "running": alive,
            "parts": [
                {
                    "name": p.name,
                    "pid": p.pid,
                    "restarts": p.restarts,
                    "trouble": p.trouble,
                    "mb": round(used.get(p.name, 0), 1),
                }
                for p in parts
            ],
            "memory_mb": round(sum(used.values()), 1),
            "services": {s: {"ready": r, "told": told} for s, (r, told) in ready.items()},
            "reports": reports,
            "app": config.app_origin,
            "ports": config.ports,
        }
        print(json.dumps(whole))  # noqa: T201
    else:
        show_status(config, parts, used, ready, reports)
        if trouble:
            console.print(trouble, style="red", markup=False)
    if secrets:
        console.print(f"SQL: user operator, password {config.secrets.clickhouse}", markup=False)
        console.print(
            f"API: client_id operator, client_secret {config.secrets.clients['operator']}", markup=False
        )
    if not alive or not all(r for r, _ in ready.values()):
        raise typer.Exit(1)


def show_status(
    config: Config,
    parts: list[supervisor.State],
    used: dict[str, float],
    ready: dict[str, tuple[bool, str]],
    reports: dict[str, Any],
) -> None:
    if not parts:
        console.print(f"Not running. Its data is in {config.data}; ./lyceum up starts it.", soft_wrap=True)
        return
    table = Table("part", "process", "memory", "restarts", "last trouble", title="Parts")
    for part in parts:
        lives = supervisor.living(part.pid, part.born) is not None
        table.add_row(
            part.name,
            str(part.pid) if lives else "[red]down[/]",
            f"{used.get(part.name, 0):.0f} MB",
            str(part.restarts),
            part.trouble,
        )
    table.caption = f"{sum(used.values()):.0f} MB in all (PSS)"
    console.print(table)
    table = Table("service", "ready", "outbox", "parked", "timers pending/late/failed", title="Services")
    for service, (is_ready, told) in ready.items():
        report: dict[str, Any] = reports.get(service) or {}
        timers: dict[str, Any] = report.get("timers") or {}
        relay: dict[str, Any] = report.get("relay") or {}
        table.add_row(
            service,
            "[green]yes[/]" if is_ready else f"[red]no[/] {told[:60]}",
            str(relay.get("outbox", "–")),
            str(len(report.get("parked") or [])),
            "/".join(str(timers.get(k, "–")) for k in ("pending", "late", "failed")),
        )
    console.print(table)
    table = Table("consumer", "feed", "handled", "head", "behind", "healed", "alarm", title="Feeds")
    for service, report in reports.items():
        for feed, rows in by_feed(report["consumers"]).items():
            heads, nexts = sum(r.get("head") or 0 for r in rows), sum((r.get("next") or 1) - 1 for r in rows)
            alarms = sorted({str(r["alarm"]) for r in rows if r.get("alarm")})
            more = f" (and {len(alarms) - 1} like it)" if len(alarms) > 1 else ""
            known = all(r["lag"] is not None for r in rows)  # else the producer does not answer
            behind = str(sum(r["lag"] for r in rows)) if known else "?"
            table.add_row(
                service,
                feed,
                str(nexts),
                str(heads) if known else "?",
                behind,
                str(sum(r.get("healed") or 0 for r in rows)),
                alarms[0] + more if alarms else "",
            )
    console.print(table)
    for service, report in reports.items():
        if why := report["relay"]["error"]:
            console.print(f"The relay of {service} stands: {why}", style="red", markup=False, soft_wrap=True)


def by_feed(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """A line for each partition would be long: they are summed by feed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["feed"], []).append(row)
    return found


@app.command()
def logs(
    part: Annotated[
        str | None, typer.Argument(help="postgres, kafka, ledger, analytics, supervisor …; all without it.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
    lines: Annotated[int, typer.Option("-n", help="Lines to begin with.")] = 50,
    data: Data = None,
) -> None:
    """What the parts wrote."""
    config = installed(data)
    files = sorted((config.data / "logs").glob(f"{part or '*'}.log"))
    if not files:
        there = ", ".join(sorted(f.stem for f in (config.data / "logs").glob("*.log")))
        stop(f"There is no log of {part!r}; there are: {there or 'none yet'}.")
    ends = {file: file.stat().st_size for file in files}
    for file in files:
        print_log(file, lifecycle.tail(file, lines).splitlines(), many=len(files) > 1)
    while follow:
        time.sleep(0.3)
        for file in files:
            size = file.stat().st_size
            begin = ends[file] if size >= ends[file] else 0  # it was cut
            if size > begin:
                with file.open("rb") as stream:
                    stream.seek(begin)
                    print_log(
                        file,
                        stream.read(size - begin).decode(errors="replace").splitlines(),
                        many=len(files) > 1,
                    )
            ends[file] = size


def print_log(file: Path, lines: list[str], *, many: bool) -> None:
    for line in lines:
        print(f"{file.stem}: {line}" if many else line, flush=True)  # noqa: T201


@app.command()
def doctor(
    data: Data = None,
    url: Annotated[str, typer.Option(help="An installation elsewhere, where people open it: https://…")] = "",
    client_id: Annotated[
        str, typer.Option(help="Who asks there; to see feeds and parked events: operator.")
    ] = "",
    client_secret: Annotated[
        str, typer.Option(help="Its secret; better by the variable.", envvar="LYCEUM_CLIENT_SECRET")
    ] = "",
    ca: Annotated[str, typer.Option(help="A file with authorities to trust besides the system's.")] = "",
) -> None:
    """Look for what may be wrong, here or elsewhere, and say what to do."""
    from lyceum_local.doctor import installation, machine

    if url:
        found = installation.examine(installation.Door(url, client_id, client_secret, ca))
    else:
        found = machine.examine(folder(data))
    wrong = 0
    for finding in found:
        console.print("[green]ok[/]  " if finding.fine else "[red]bad[/] ", end="")
        console.print(f"{finding.what}: {finding.told}", markup=False, soft_wrap=True)
        if not finding.fine:
            wrong += 1
            console.print(f"      → {finding.advice}", markup=False, soft_wrap=True)
    console.print(f"{wrong} of these need you." if wrong else "All is well.")
    if wrong:
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def compose(context: typer.Context) -> None:
    """The platform in containers: `docker compose` on deploy/compose, with secrets made at the first start."""
    from lyceum_local import compose as containers

    try:
        containers.run(context.args)
    except FileNotFoundError as e:
        stop(f"{e}: containers need Docker with its plugin compose.")
