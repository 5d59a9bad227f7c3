"""What an operator sets up: tenants, API clients, webhook endpoints, signing keys; and who is erased."""

from typing import Annotated

import typer

from lyceum_local.cli.terminal import Data, Tenant, console, group, installed, show_once
from lyceum_local.remote import Operator

tenant_app = group("tenant", "Organisations on this platform.")
client_app = group("client", "API clients.")
webhook_app = group("webhook", "Where HR systems deliver.")
keys_app = group("keys", "The keys that sign access tokens.")
person_app = group("person", "People of a tenant.")


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
