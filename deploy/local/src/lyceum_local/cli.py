"""The `lyceum` command. Everything heavy is imported by the command that needs it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Column, Table

from lyceum_local import backup as backups
from lyceum_local import config as configuration
from lyceum_local import lifecycle, supervisor
from lyceum_local.backup import BackupError
from lyceum_local.config import Config
from lyceum_local.images import IMAGES, ImageError
from lyceum_local.kafka import KafkaError
from lyceum_local.lifecycle import LifecycleError
from lyceum_local.locks import LockError
from lyceum_local.paths import SERVICES, data_folder, repository
from lyceum_local.postgres import PostgresError
from lyceum_local.remote import Operator, PlatformError, readiness
from lyceum_local.vacuum import VacuumError
from lyceum_local.web import BuildError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The whole platform on one machine.",
    pretty_exceptions_enable=False,
)
parked_app = typer.Typer(no_args_is_help=True, help="Events that could not be handled.")
tenant_app = typer.Typer(no_args_is_help=True, help="Organisations on this platform.")
client_app = typer.Typer(no_args_is_help=True, help="API clients.")
person_app = typer.Typer(no_args_is_help=True, help="People of a tenant.")
webhook_app = typer.Typer(no_args_is_help=True, help="Where HR systems deliver.")
images_app = typer.Typer(no_args_is_help=True, help="Container images, for clusters.")
keys_app = typer.Typer(no_args_is_help=True, help="The keys that sign access tokens.")
app.add_typer(parked_app, name="parked")
app.add_typer(tenant_app, name="tenant")
app.add_typer(client_app, name="client")
app.add_typer(webhook_app, name="webhook")
app.add_typer(keys_app, name="keys")
app.add_typer(person_app, name="person")
app.add_typer(images_app, name="images")

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Where everything is kept; else LYCEUM_DATA, else your data folder."),
]
Service = Annotated[str, typer.Argument(help=f"One of {', '.join(SERVICES)}.")]
Tenant = Annotated[str, typer.Option("--tenant", help="The tenant's slug.")]


def main() -> None:
    """The entry point: what goes wrong in a known way is a sentence, not a traceback."""
    try:
        app()
    except (
        PlatformError,
        LifecycleError,
        PostgresError,
        KafkaError,
        BuildError,
        LockError,
        BackupError,
        VacuumError,
        ImageError,
    ) as e:
        errors.print(str(e), style="red", markup=False, soft_wrap=True)
        sys.exit(1)


def folder(chosen: Path | None) -> Path:
    return chosen.expanduser().absolute() if chosen else data_folder()


def installed(chosen: Path | None) -> Config:
    config = configuration.load(folder(chosen))
    if config is None:
        stop(f"There is no installation in {folder(chosen)}: run ./lyceum up first.")
    return config


def stop(why: str) -> NoReturn:
    errors.print(why, markup=False)
    raise typer.Exit(1)


def known(service: str) -> str:
    if service not in SERVICES:
        stop(f"{service!r} is no service: one of {', '.join(SERVICES)}.")
    return service


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
            behind = sum(int(r.get("lag") or 0) for r in rows)
            table.add_row(
                service,
                feed,
                str(nexts),
                str(heads),
                str(behind),
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
def doctor(data: Data = None) -> None:
    """Look for what may be wrong, and say what to do."""
    from lyceum_local.doctor import examine

    wrong = 0
    for finding in examine(folder(data)):
        console.print("[green]ok[/]  " if finding.fine else "[red]bad[/] ", end="")
        console.print(f"{finding.what}: {finding.told}", markup=False, soft_wrap=True)
        if not finding.fine:
            wrong += 1
            console.print(f"      → {finding.advice}", markup=False, soft_wrap=True)
    console.print(f"{wrong} of these need you." if wrong else "All is well.")
    if wrong:
        raise typer.Exit(1)


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
    wrong = [name for name in some if show_reconciliation(operator, name, "GET")]
    if not wrong:
        console.print("Everything agrees.")
        return
    if not yes:
        typer.confirm(f"Mend {', '.join(wrong)}?", abort=True)
    left = [name for name in wrong if show_reconciliation(operator, name, "POST")]
    if left:
        stop(f"Not mended: {', '.join(left)}.")


def show_reconciliation(operator: Operator, service: str, method: str) -> bool:
    """True when there is trouble."""
    report = operator.call(method, f"/api/{service}/system/reconcile")
    for line in report["told"]:
        console.print(line, markup=False, soft_wrap=True)
    return bool(report["trouble"])


@tenant_app.command("create")
def tenant_create(
    slug: str,
    name: Annotated[str, typer.Option(help="Its full name.")],
    admin_name: Annotated[str, typer.Option(help="Its first administrator.")],
    admin_email: Annotated[str, typer.Option()] = "",
    time_zone: Annotated[str, typer.Option(help="Where people are when nothing else is known.")] = "UTC",
    data: Data = None,
) -> None:
    """A tenant, and a one-time link for its first administrator."""
    admin = {"display_name": admin_name, "email": admin_email}
    body = {"slug": slug, "name": name, "time_zone": time_zone, "admin": admin}
    show_once(Operator(installed(data)).call("POST", "/api/identity/tenants", body))


@client_app.command("create")
def client_create(
    name: str,
    tenant: Tenant,
    role: Annotated[list[str], typer.Option(help="reader, hris, author or admin; may be repeated.")],
    data: Data = None,
) -> None:
    """An API client. Its secret is shown once."""
    body = {"name": name, "roles": role, "tenant_slug": tenant}
    show_once(Operator(installed(data)).call("POST", "/api/identity/clients", body))


@webhook_app.command("create")
def webhook_create(
    name: str,
    tenant: Tenant,
    form: Annotated[str, typer.Option(help="standard or bamboohr.")] = "standard",
    source: Annotated[str, typer.Option(help="Endpoints of one source speak of the same people.")] = "",
    base_url: Annotated[str, typer.Option(help="The HR system's API, for forms that are read again.")] = "",
    api_key: Annotated[
        str, typer.Option(help="Its key; better by the variable.", envvar="LYCEUM_HRIS_API_KEY")
    ] = "",
    time_zone: Annotated[str, typer.Option()] = "",
    data: Data = None,
) -> None:
    """Where an HR system may deliver. Its secret is shown once."""
    given = {"source": source, "base_url": base_url, "api_key": api_key, "time_zone": time_zone}
    body = {
        "form": form,
        "name": name,
        "tenant_slug": tenant,
        "config": {k: v for k, v in given.items() if v},
    }
    show_once(Operator(installed(data)).call("POST", "/api/identity/webhooks", body))


@webhook_app.command("rotate")
def webhook_rotate(
    endpoint_id: str,
    tenant: Tenant,
    overlap_hours: Annotated[float, typer.Option(help="How long the old secret stays valid.")] = 24,
    data: Data = None,
) -> None:
    """A new secret; the one before stays valid for a while."""
    body = {"overlap_hours": overlap_hours, "tenant_slug": tenant}
    show_once(Operator(installed(data)).call("POST", f"/api/identity/webhooks/{endpoint_id}/rotate", body))


@keys_app.command("rotate")
def keys_rotate(data: Data = None) -> None:
    """A new signing key: announced now, it signs in two minutes; tokens of the old one stay good until they end."""
    show_once(Operator(installed(data)).call("POST", "/api/identity/keys/rotate"))


@person_app.command("erase")
def person_erase(
    person_id: str,
    tenant: Tenant,
    reason: Annotated[str, typer.Option(help="requested, retention-ended or unlawful.")],
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Forget for good who somebody was who left. Their id and what it learned stay. Again: nothing changes."""
    operator = Operator(installed(data))
    if not yes:
        typer.confirm(f"Erase {person_id}? Nobody can undo it.", abort=True)
    body = {"reason": reason}
    done = operator.call("POST", f"/api/identity/people/{person_id}/erasure?tenant_slug={tenant}", body)
    console.print(
        f"Erased at {done['erased_at']}. Now ./lyceum vacuum takes it out of the files.", soft_wrap=True
    )


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


def show_once(answer: dict[str, Any]) -> None:
    console.print_json(data=answer)
    errors.print("Keep any secret or link from this answer now: it is not shown again.")


Tag = Annotated[str, typer.Option(help="Of the images; they are called lyceum/<name>.")]


@images_app.command("build")
def images_build(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(IMAGES)}; all without it.")
    ] = None,
    tag: Tag = "dev",
    base: Annotated[
        str, typer.Option(help="Image with Python 3.11 or newer; else the Dockerfile's own.")
    ] = "",
    network: Annotated[str, typer.Option(help="Of the builds, as Docker calls it.")] = "default",
) -> None:
    """Build images with Docker, from deploy/images/Dockerfile."""
    from lyceum_local import images

    if unknown := set(names or ()) - IMAGES.keys():
        stop(f"There is no image {', '.join(sorted(unknown))}: one of {', '.join(IMAGES)}.")
    for reference in images.build(names or IMAGES, tag, base=base, more=[f"--network={network}"]):
        console.print(f"[green]built[/] {reference}")


@images_app.command("push")
def images_push(
    registry: Annotated[str, typer.Argument(help="Host and path before lyceum/<name>.")], tag: Tag = "dev"
) -> None:
    """Push built images, and print their digests as an overlay's kustomization wants them."""
    from lyceum_local import images

    for entry in images.push([name for name in IMAGES if name != "parts"], tag, registry):
        print(entry)  # noqa: T201


@images_app.command("list")
def images_list(
    overlay: Annotated[str, typer.Argument(help="A folder of deploy/k8s/overlays.")],
) -> None:
    """Every image that an overlay runs, one a line. Needs kubectl."""
    from lyceum_local import images
    from lyceum_local.testing.kubernetes import OVERLAYS, render

    if not (OVERLAYS / overlay).is_dir():
        stop(
            f"There is no overlay {overlay}: one of {', '.join(sorted(o.name for o in OVERLAYS.iterdir()))}."
        )
    for reference in images.named_in(render(OVERLAYS / overlay)):
        print(reference)  # noqa: T201


@images_app.command("sbom")
def images_sbom(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(IMAGES)}.")], tag: Tag = "dev"
) -> None:
    """What is in a built image, as CycloneDX JSON."""
    from lyceum_local import images

    if name not in IMAGES:
        stop(f"{name!r} is no image: one of {', '.join(IMAGES)}.")
    print(json.dumps(images.sbom(name, tag), indent=1))  # noqa: T201


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def compose(context: typer.Context) -> None:
    """The platform in containers: `docker compose` on deploy/compose, with secrets made at the first start."""
    from lyceum_local import compose as containers

    try:
        containers.run(context.args)
    except FileNotFoundError as e:
        stop(f"{e}: containers need Docker with its plugin compose.")


@app.command()
def lock(
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether the locks fit the projects.")
    ] = False,
) -> None:
    """Make the locks anew: requirements.lock, requirements-dev.lock, kafka.lock.toml."""
    from lyceum_local import locks

    if check:
        wrong = locks.drift(repository())
        for line in wrong:
            errors.print(line, markup=False)
        if wrong:
            stop("The locks do not fit: run ./lyceum lock.")
        console.print("The locks fit.")
    else:
        console.print("Written: " + ", ".join(locks.write()))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(context: typer.Context) -> None:
    """Run all tests, or what the arguments for pytest say. `--faults`: the long fault runs too. `--k8s`: those that
    want a cluster, on the one that KUBECONFIG names."""
    arguments = [a for a in context.args if a not in ("--faults", "--k8s")]
    if "--k8s" in context.args:
        arguments = ["-m", "k8s", "tests/k8s", *arguments]
    else:
        arguments = ["-m", "not k8s" if "--faults" in context.args else "not faults and not k8s", *arguments]
    if not context.args:
        # Everything, by two workers: most tests wait for other processes. What both use is there before they start.
        with tempfile.TemporaryDirectory() as folder:
            lifecycle.fetch(Path(folder), console.print)
        arguments += ["-n", "2", "--dist", "loadfile"]
    env = os.environ | {"LYCEUM_CHROMIUM": browser()}
    if not env["LYCEUM_CHROMIUM"]:
        del env["LYCEUM_CHROMIUM"]
    here = Path(sys.executable).parent
    env["PATH"] = f"{here}{os.pathsep}{env.get('PATH', '')}"
    raise typer.Exit(
        subprocess.run(
            [sys.executable, "-m", "pytest", *arguments], cwd=repository(), env=env, check=False
        ).returncode
    )


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False
)
def bench(context: typer.Context) -> None:
    """Measure every hop beside its peer; names choose which. `--help` lists them."""
    command = [sys.executable, "-m", "benchmarks", *context.args]
    raise typer.Exit(subprocess.run(command, cwd=repository(), check=False).returncode)


def browser() -> str:
    """A system Chromium, from apt where we may; empty: Playwright has its own."""
    if found := shutil.which("chromium") or shutil.which("chromium-browser"):
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        console.print("Installing Chromium with apt-get")
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=env, check=False)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "chromium"], env=env, check=False, stdout=subprocess.DEVNULL
        )
        if found := shutil.which("chromium"):
            return found
    console.print("Installing Playwright's Chromium")
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    return ""
