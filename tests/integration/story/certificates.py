"""A certificate in the hands of somebody who has nothing but the link."""

import base64
import gzip
import io
from collections.abc import Mapping
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey
from playwright.async_api import expect
from pypdf import PdfReader

from lyceum_kit.tokens import jwt_header
from tests.integration.story.world import Story


async def public_page_says(story: Story, url: str, verdict: str, text: str) -> None:
    """Without JavaScript, as whoever got the link."""
    context = await story.browser.new_context(
        base_url=story.school.platform.config.app_origin, java_script_enabled=False
    )
    page = await context.new_page()
    await page.goto(url)
    await expect(page.locator(".verdict")).to_contain_text(verdict)
    await expect(page.get_by_text(text).first).to_be_visible()
    await context.close()


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


async def signed_by_its_issuer(anyone: httpx.AsyncClient, token: str) -> tuple[dict[str, Any], ECKey]:
    """The claims, once the key that the token names has verified them and its issuer has owned up to that key."""
    kid = jwt_header(token)["kid"]
    key = ECKey.import_key((await anyone.get(kid)).raise_for_status().json())
    claims = jwt.decode(token, key, algorithms=["ES256"]).claims
    issuer = (await anyone.get(claims["iss"])).raise_for_status().json()
    published = (await anyone.get(issuer["jwks"])).raise_for_status().json()["keys"]
    assert kid in {k["kid"] for k in published}
    return claims, key


async def revoked(anyone: httpx.AsyncClient, claims: Mapping[str, Any]) -> bool:
    """Whether the credential's bit is set in its issuer's signed status list."""
    status = claims["credentialStatus"]
    signed = (await anyone.get(status["statusListCredential"])).raise_for_status().text
    of_list, _ = await signed_by_its_issuer(anyone, signed)
    encoded = of_list["credentialSubject"]["encodedList"].removeprefix("u")
    bits = gzip.decompress(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    index = int(status["statusListIndex"])
    return bool(bits[index // 8] & 0x80 >> (index % 8))
