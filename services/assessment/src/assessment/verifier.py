"""Checks a certificate, or a log, without trusting the platform that issued it: no database, no token, no secret.

    python -m assessment.verifier certificate --credential x.jwt --proof x.tlog-proof --issuer-keys jwks.json --log-key key
    python -m assessment.verifier watch https://learn.example/badges/issuers/<tenant>/log --state kept.json

`certificate` needs no network. `watch` fetches the log's newest checkpoint and proves that the log still begins with
what it was when last seen; run it from somewhere that the platform's operators cannot write to.
"""

import argparse
import base64
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from assessment import credential, merkle, tlog
from assessment.credential import Forged
from assessment.merkle import Unproven
from assessment.tlog import Checkpoint
from lyceum.assessment.v1.events_pb2 import CertificateIssued


def certificate(
    signed: str, proof_text: str, issuer_keys: Mapping[str, Any], log_key: str, *, trusted: str = ""
) -> Mapping[str, Any]:
    """What the log says of the certificate. Raises Forged or Unproven.

    `trusted`: a checkpoint that was kept elsewhere; the proof must be against that very one. PURE.
    """
    proof = tlog.parse_proof(proof_text)
    checkpoint = tlog.open_note(proof.note, *tlog.parse_verifier_key(log_key))
    if trusted and tlog.open_note(trusted, *tlog.parse_verifier_key(log_key)) != checkpoint:
        raise Unproven(
            "the proof is not against the checkpoint that was kept: ask for one, or for consistency"
        )
    if not proof.extra:
        raise Unproven("the person was erased: what the entry held can no longer be opened")
    data, record = tlog.opened(proof.extra)
    merkle.verify_inclusion(merkle.leaf_hash(data), proof.index, checkpoint.size, proof.path, checkpoint.root)
    issued = _issued(record)
    if issued.credential_sha256 != credential.sha256(signed):
        raise Forged("the log holds another credential under this number")
    for key in issuer_keys["keys"]:
        if str(key["kid"]).rsplit("/", 1)[-1] == issued.key_id:
            claims = credential.open_signed(signed, key)
            break
    else:
        raise Forged("no published key of the issuer signed it")
    return {
        "name": claims["credentialSubject"]["identifier"][0]["identityHash"],
        "course": claims["name"],
        "issued_at": record["at"],
        "entry": proof.index,
        "log": checkpoint.origin,
        "log_size": checkpoint.size,
        "record": MessageToDict(issued, preserving_proto_field_name=True),
    }


def _issued(record: Mapping[str, Any]) -> CertificateIssued:
    if record.get("type") != CertificateIssued.DESCRIPTOR.full_name:
        raise Unproven("the entry is not the issue of a certificate")
    try:
        return CertificateIssued.FromString(base64.b64decode(record["data"], validate=True))
    except Exception as e:
        raise Unproven("the entry cannot be read") from e


def watch(url: str, kept: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The log's newest checkpoint, proven to begin with the one in `kept`. Raises Unproven.

    `kept` is what an earlier call returned; None at the first sight, when the key is taken on trust.
    """
    key = str(kept["key"]) if kept else _fetch(f"{url}/key")
    note = _fetch(f"{url}/checkpoint")
    now = tlog.open_note(note, *tlog.parse_verifier_key(key))
    if kept:
        before = tlog.open_note(str(kept["checkpoint"]), *tlog.parse_verifier_key(key))
        if now.size < before.size:
            raise Unproven(f"the log has shrunk from {before.size} to {now.size} entries")
        merkle.verify_consistency(
            before.size, now.size, before.root, now.root, _consistency(url, before, now)
        )
    return {"key": key.strip(), "checkpoint": note, "size": now.size}


def _consistency(url: str, before: Checkpoint, now: Checkpoint) -> list[bytes]:
    if before.size == now.size:
        return []
    query = urllib.parse.urlencode({"old": before.size, "new": now.size})
    try:
        return [base64.b64decode(h, validate=True) for h in _fetch(f"{url}/consistency?{query}").split()]
    except ValueError as e:
        raise Unproven("the log answers with no proof") from e


def _fetch(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise Unproven(f"{url} is no address of a log")
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - http(s), checked above
            return answer.read(tlog.MAX_TEXT).decode()
    except (urllib.error.URLError, UnicodeDecodeError) as e:
        raise Unproven(f"{url} does not answer: {e}") from e


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m assessment.verifier",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("certificate", help="is it real, and in the log?")
    for name in ("--credential", "--proof", "--issuer-keys", "--log-key"):
        one.add_argument(name, type=Path, required=True)
    one.add_argument("--checkpoint", type=Path, help="one that was kept elsewhere")
    log = commands.add_parser("watch", help="was the log rewritten since it was last seen?")
    log.add_argument("url")
    log.add_argument("--state", type=Path, required=True, help="what was seen; made at the first call")
    arguments = parser.parse_args()
    try:
        if arguments.command == "certificate":
            found = certificate(
                arguments.credential.read_text().strip(),
                arguments.proof.read_text(),
                json.loads(arguments.issuer_keys.read_text()),
                arguments.log_key.read_text(),
                trusted=arguments.checkpoint.read_text() if arguments.checkpoint else "",
            )
        else:
            state: Path = arguments.state
            found = watch(
                arguments.url.rstrip("/"), json.loads(state.read_text()) if state.exists() else None
            )
            state.write_text(json.dumps(found, indent=1))
    except (Forged, Unproven) as e:
        sys.exit(f"NOT PROVEN: {e}")
    except (OSError, ValueError, KeyError) as e:
        sys.exit(f"cannot be checked: {type(e).__name__}: {e}")
    sys.stdout.write(f"PROVEN\n{json.dumps(found, indent=1, ensure_ascii=False)}\n")


if __name__ == "__main__":
    main()
