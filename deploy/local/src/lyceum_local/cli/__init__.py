"""The `lyceum` command. Everything heavy is imported by the command that needs it."""

import sys

# Each of them adds its commands to the app, in this order.
from lyceum_local.cli import running, recovery, setup, development  # isort: skip
from lyceum_local.backup import BackupError
from lyceum_local.cli.terminal import app, errors
from lyceum_local.images import ImageError
from lyceum_local.kafka import KafkaError
from lyceum_local.lifecycle import LifecycleError
from lyceum_local.locks import LockError
from lyceum_local.postgres import PostgresError
from lyceum_local.remote import PlatformError
from lyceum_local.vacuum import VacuumError
from lyceum_local.web import BuildError

__all__ = ["development", "main", "recovery", "running", "setup"]


def main() -> None:
    """The entry point: what goes wrong in a known way is a sentence, not a traceback."""
    try:
        app()
    except (
        PlatformError,
        LifecycleError,
        PostgresError,
        KafkaError,
        BuildError,
        LockError,
        BackupError,
        VacuumError,
        ImageError,
    ) as e:
        errors.print(str(e), style="red", markup=False, soft_wrap=True)
        sys.exit(1)
