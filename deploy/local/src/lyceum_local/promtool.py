"""Prometheus' own checker of alert rules, for the tests: the system's, else out of Debian's package."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from lyceum_local.paths import cache_folder


def promtool() -> str | None:
    """None where there is none and no apt-get to fetch it with. The package is not installed: it would start a server."""
    if found := shutil.which("promtool"):
        return found
    kept = cache_folder() / "promtool"
    if not kept.exists():
        if not shutil.which("apt-get"):
            return None
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["apt-get", "download", "-qq", "prometheus"], cwd=folder, check=True)
            [package] = Path(folder).glob("*.deb")
            subprocess.run(["dpkg", "-x", str(package), folder], check=True)
            cache_folder().mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(folder) / "usr" / "bin" / "promtool", partial := kept.with_suffix(".new"))
            partial.rename(kept)
    return str(kept)
