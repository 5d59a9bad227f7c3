"""Alembic's entry; the kit does the work."""

from lyceum_kit.migrations import run_env

run_env()
