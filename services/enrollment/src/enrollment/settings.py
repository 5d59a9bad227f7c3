"""Enrollment's settings."""

from pydantic import Field

from lyceum_kit.settings import KitSettings


class Settings(KitSettings):
    enrollment_chunk: int = Field(
        default=2000, ge=1, le=5000, description="People one transaction of a pass over everybody takes."
    )
