"""Assessment's settings."""

import base64
import binascii
from datetime import timedelta
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from lyceum_kit.settings import KitSettings


class Settings(KitSettings):
    assessment_master_key: SecretStr = Field(
        description="32 random bytes in base64. Wraps every person's key and every issuer's: without it, what learners"
        " wrote cannot be read and no certificate can be signed. Back it up apart from the database.",
    )
    assessment_player_dir: Path | None = Field(
        None,
        description="Folder that holds scorm12.js (scorm-again); by default the web build's dist/lms.",
    )
    assessment_launch_lifetime: timedelta = Field(
        timedelta(hours=12), description="How long a launched module may go on reporting."
    )

    @field_validator("assessment_master_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr) -> SecretStr:
        master_key(value)
        return value


def master_key(value: SecretStr) -> bytes:
    try:
        key = base64.b64decode(value.get_secret_value(), altchars=b"-_", validate=True)
    except binascii.Error:
        key = base64.b64decode(value.get_secret_value())
    if len(key) != 32:
        raise ValueError("LYCEUM_ASSESSMENT_MASTER_KEY must be 32 bytes in base64")
    return key
