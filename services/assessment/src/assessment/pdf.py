"""The certificate as a PDF/UA-1 document: tagged, with its language, readable aloud, in any of the bundled
scripts.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import segno
from fastapi import Response

import assessment
from assessment import glyphs

_HERE = Path(assessment.__file__).parent
_LANGUAGE = re.compile(r"([a-z]{2,3})(?:-[A-Za-z]{4})?(?:-([A-Z]{2}))?")
_ASSURANCE = {
    "server-graded": "Graded by the platform's server",
    "self-reported": "Reported by the course in the learner's browser",
}


async def response(certificate: Any, *, issuer_name: str, origin: str) -> Response:
    body = await asyncio.to_thread(render, certificate, issuer_name=issuer_name, origin=origin)
    name = f"certificate-{certificate.certificate_id}.pdf"
    return Response(
        body, media_type="application/pdf", headers={"content-disposition": f'inline; filename="{name}"'}
    )


def render(certificate: Any, *, issuer_name: str, origin: str) -> bytes:
    """The same certificate always gives the same document; rendering issues nothing."""
    # typst brings 80 MB of shared library: only processes that render pay for it.
    import typst

    verify_url = f"{origin}/verify/{certificate.certificate_id}"
    match = _LANGUAGE.fullmatch(certificate.language or "")
    language, region = match.groups() if match else ("en", None)
    data: dict[str, Any] = {
        "recipient": certificate.recipient_name,
        "course": certificate.course_title,
        "issuer": issuer_name,
        "issued": [certificate.issued_at.year, certificate.issued_at.month, certificate.issued_at.day],
        "issued_text": f"{certificate.issued_at:%d %B %Y}".lstrip("0"),
        "score": None if certificate.score is None else f"{round(certificate.score, 1):g} %",
        "assurance": _ASSURANCE[certificate.assurance],
        "number": certificate.certificate_id,
        "verify_url": verify_url,
        "revoked": f"{certificate.revoked_at:%d %B %Y}".lstrip("0") if certificate.revoked_at else None,
        "language": language,
        "region": region,
        "unprintable": False,
        "qr": segno.make(verify_url, error="m").svg_inline(border=0, dark="#26211c", omitsize=True),
    }

    # The data reaches the template as a value, never as source: a name cannot become markup or code.
    def compiled(data: Mapping[str, Any]) -> bytes:
        return typst.compile(
            str(_HERE / "templates" / "certificate.typ"),
            font_paths=[str(_HERE / "fonts")],
            ignore_system_fonts=True,
            sys_inputs={"data": json.dumps(data)},
            pdf_standards=["ua-1"],
        )

    try:
        return compiled(data)
    except typst.TypstError:
        printable = {k: glyphs.shown(data[k], _printable()) for k in ("recipient", "course", "issuer")}
        if printable.items() <= data.items():
            raise
        # Of a script or a sign that no bundled font has: the page that the code leads to shows it.
        return compiled({**data, **printable, "unprintable": True})


@cache
def _printable() -> frozenset[int]:
    fonts = [*(_HERE / "fonts").glob("*.ttf"), *(_HERE / "fonts").glob("*.otf")]
    return frozenset[int]().union(*(glyphs.coverage(font.read_bytes()) for font in fonts))
