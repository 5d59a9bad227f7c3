"""Catalog's settings."""

from pydantic import Field

from lyceum_kit.settings import KitSettings


class Settings(KitSettings):
    content_url: str = Field(
        "file:///var/lib/lyceum/content",
        description="Where packages are kept: a folder (file://) or s3://bucket/prefix.",
    )
    catalog_upload_folder: str = Field(
        "", description="Where uploads wait while they are checked; empty: the system's."
    )
    catalog_upload_bytes: int = Field(
        default=500 * 1024 * 1024, ge=1, description="The largest package that is taken."
    )
    catalog_inspection_seconds: float = Field(
        default=30.0, gt=0, description="How long the check of one package may take."
    )
