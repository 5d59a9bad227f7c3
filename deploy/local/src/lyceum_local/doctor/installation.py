"""An installation somewhere else, looked at through its front door alone: `./lyceum doctor --url https://…`."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from lyceum_kit import VERSION
from lyceum_local.doctor.reports import Finding, Report, judged
from lyceum_local.paths import SERVICES

PATIENCE = 10.0
APART = 4.0  # seconds between two looks at what is behind
SKEW = 5.0  # seconds; tokens live for a minute, webhooks are refused beyond five
EXPIRES_SOON = 21.0  # days


@dataclass(frozen=True)
class Door:
    """Where it is, and who asks: the operator's client, or another with the operator's role."""

    url: str
    client_id: str = ""
    client_secret: str = ""
    authorities: str = ""  # a file with those to trust besides the system's


def examine(
    door: Door,
    *,
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Finding]:
    """What it finds, as it finds it. Where nobody answers there is no more to ask."""
    place = urlsplit(door.url)
    if place.scheme not in ("http", "https") or not place.hostname:
        yield Finding("address", False, f"{door.url!r} is no address", "give --url https://host")
        return
    trust = ssl.create_default_context()
    if place.scheme == "https":
        if door.authorities:
            trust.load_verify_locations(door.authorities)
        certificate = _certificate(place.hostname, place.port or 443, trust, clock)
        yield certificate
        if not certificate.fine and "days" not in certificate.told:
            return
    else:
        yield Finding(
            "certificate", place.hostname in ("127.0.0.1", "localhost"), "none: plain HTTP", _NO_TLS
        )
    with httpx.Client(base_url=door.url, timeout=PATIENCE, verify=trust, trust_env=False) as http:
        try:
            yield from _answers(http, clock)
        except httpx.HTTPError as e:
            yield Finding("reachable", False, f"{door.url}: {e or type(e).__name__}", _UNREACHABLE)
            return
        yield from (_ready(http, service) for service in SERVICES)
        if not door.client_id:
            yield Finding(
                "operator", True, "not asked: feeds, relay and parked events want --client-id operator"
            )
            return
        yield from _as_operator(http, door, pause)


_NO_TLS = "give it TLS before people and tokens go there: docs/operations/security.md"
_UNREACHABLE = (
    "from where you are: does the name resolve, does a firewall or proxy stand between, does the Gateway have an"
    " HTTPRoute for this host, is a pod of identity running? See docs/operations/kubernetes.md"
)


def _certificate(host: str, port: int, trust: ssl.SSLContext, clock: Callable[[], float]) -> Finding:
    try:
        with (
            socket.create_connection((host, port), PATIENCE) as plain,
            trust.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            peer = wrapped.getpeercert() or {}
    except ssl.SSLCertVerificationError as e:
        advice = "renew it, or send its whole chain; your own authority: --ca file"
        return Finding("certificate", False, e.verify_message, advice)
    except OSError as e:
        return Finding("reachable", False, f"{host}:{port}: {e}", _UNREACHABLE)
    until = ssl.cert_time_to_seconds(str(peer["notAfter"]))
    days = (until - clock()) / 86400
    told = f"good for {days:.0f} days, until {datetime.fromtimestamp(until, UTC):%Y-%m-%d}"
    return Finding(
        "certificate", days > EXPIRES_SOON, told, "renew it now: see who issues it (cert-manager, your CA)"
    )


def _answers(http: httpx.Client, clock: Callable[[], float]) -> Iterator[Finding]:
    asked = clock()
    answer = http.get("/api/identity/livez")
    took = clock() - asked
    yield Finding(
        "reachable",
        answer.status_code == 200,
        f"{http.base_url} answers {answer.status_code} in {took * 1000:.0f} ms",
        "421 means that it is known by another name, 404 that no route leads to the services, 503 that they start",
    )
    if date := answer.headers.get("date"):
        theirs = parsedate_to_datetime(date).timestamp()
        # It was true somewhere between the question and the answer, and says no more than seconds.
        skew = max(asked - theirs - 1, theirs - (asked + took), 0.0)
        yield Finding(
            "clock",
            skew <= SKEW,
            f"within {SKEW:.0f} s of ours" if skew <= SKEW else f"{skew:.0f} s away from ours",
            "one of the two is wrong (timedatectl): tokens, webhook signatures and due dates depend on it",
        )


def _ready(http: httpx.Client, service: str) -> Finding:
    try:
        answer = http.get(f"/api/{service}/readyz")
        told = "" if answer.status_code == 200 else _problem(answer)
    except httpx.HTTPError as e:
        told = f"no answer: {e or type(e).__name__}"
    advice = f"the log of {service}; docs/operations/runbooks.md says what each part needs"
    return Finding(f"{service} ready", not told, told or "yes", advice)


def _as_operator(http: httpx.Client, door: Door, pause: Callable[[float], None]) -> Iterator[Finding]:
    form = {
        "grant_type": "client_credentials",
        "client_id": door.client_id,
        "client_secret": door.client_secret,
    }
    try:
        answer = http.post("/api/identity/token", data=form)
        answer.raise_for_status()
    except httpx.HTTPStatusError as e:
        advice = "the SHA-256 of the secret stands in identity's LYCEUM_IDENTITY_SERVICE_CLIENTS"
        yield Finding("operator", False, f"no token for {door.client_id}: {_problem(e.response)}", advice)
        return
    except httpx.HTTPError as e:
        yield Finding("operator", False, f"no answer: {e or type(e).__name__}", _UNREACHABLE)
        return
    http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
    before = {service: _report(http, service) for service in SERVICES}
    pause(APART)
    now = {service: _report(http, service) for service in SERVICES}
    yield _versions({service: report for service, report in now.items() if not isinstance(report, Finding)})
    for service, then in now.items():
        first = before[service]
        if isinstance(then, Finding):
            yield then
        elif not isinstance(first, Finding):
            yield from judged(service, first, then)


def _report(http: httpx.Client, service: str) -> Report | Finding:
    try:
        answer = http.get(f"/api/{service}/system/feeds")
        answer.raise_for_status()
        report: dict[str, Any] = answer.json()
    except httpx.HTTPStatusError as e:
        advice = (
            "this client is no operator: take the one called operator"
            if e.response.status_code == 403
            else f"the log of {service}"
        )
        return Finding(f"{service} feeds", False, _problem(e.response), advice)
    except (httpx.HTTPError, ValueError) as e:
        return Finding(
            f"{service} feeds", False, f"it does not tell: {e or type(e).__name__}", f"the log of {service}"
        )
    return report


def _versions(reports: Mapping[str, Report]) -> Finding:
    """All of one release, and this command of the same."""
    found = {service: str(report.get("version", "older than 0.1.0")) for service, report in reports.items()}
    told = ", ".join(f"{service} {number}" for service, number in found.items())
    return Finding(
        "versions",
        set(found.values()) <= {VERSION},
        f"{told}; this command is {VERSION}",
        "during an upgrade that is so for a while (docs/operations/upgrade.md); otherwise roll out what is older",
    )


def _problem(answer: httpx.Response) -> str:
    """The platform's own words from a problem document."""
    try:
        said: dict[str, Any] = answer.json()
    except ValueError:
        return f"{answer.status_code}: {answer.text[:200].strip()}"
    if red := said.get("red"):
        return "; ".join(f"{part}: {why}" for part, why in red.items())
    return f"{answer.status_code} {said.get('detail') or said.get('title', '')}"
