"""Identity's settings."""

from pydantic import Field, SecretStr

from lyceum_kit.settings import KitSettings


class Settings(KitSettings):
    identity_secret_key: SecretStr = Field(
        SecretStr(""),
        description="32 random bytes, base64: encrypts webhook secrets, HRIS keys and signing keys at rest.",
    )
    identity_service_clients: dict[str, str] = Field(
        default_factory=dict[str, str],
        description='{"<service>": "<SHA-256 of its secret, hex>", …}; "operator" is one.',
    )
    identity_proxies: str = Field(
        "",
        description="Networks, comma-separated, of proxies whose X-Forwarded-For is believed when personas are asked"
        " for: in a development cluster people come from this machine through `kubectl port-forward` and web.",
    )
    identity_deactivation_share: float = Field(
        0.10,
        ge=0,
        le=1,
        description="A snapshot that would deactivate more than this share of people is held.",
    )
    identity_deactivation_floor: int = Field(
        5, ge=1, description="… and at least so many: in a small company one leaver is a large share."
    )
    identity_session_hours: int = Field(12, ge=1, description="How long a browser stays signed in.")
    identity_link_hours: int = Field(
        72, ge=1, description="How long an administrator's one-time link is good."
    )
    identity_signing_key_overlap_hours: int = Field(
        24, ge=1, description="How long a retired signing key stays in the JWKS."
    )
