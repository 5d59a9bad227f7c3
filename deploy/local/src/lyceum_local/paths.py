"""Where the local edition keeps things: data (survives upgrades), cache (can always be fetched again)."""

import os
from pathlib import Path

import platformdirs

# Every service of the contracts has its database, its Kafka user and its credential …
CONTRACTED = ("identity", "catalog", "enrollment", "assessment", "analytics")
# … and these are built so far: the ledger services share a process, each other one has its own.
LEDGER_SERVICES = ("identity", "catalog", "enrollment", "assessment")
OTHER_SERVICES: tuple[str, ...] = ()
SERVICES = (*LEDGER_SERVICES, *OTHER_SERVICES)


def repository() -> Path:
    """The checkout this command was installed from."""
    return Path(__file__).parents[4]


def data_folder() -> Path:
    """`LYCEUM_DATA`, else the platform's folder for application data."""
    return Path(os.environ.get("LYCEUM_DATA") or platformdirs.user_data_path("lyceum")).absolute()


def cache_folder() -> Path:
    """`LYCEUM_CACHE`; else, as root, a folder that the user PostgreSQL runs as can reach; else the platform's."""
    if chosen := os.environ.get("LYCEUM_CACHE"):
        return Path(chosen).absolute()
    return Path("/var/cache/lyceum") if os.geteuid() == 0 else platformdirs.user_cache_path("lyceum")
