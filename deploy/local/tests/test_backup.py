import json
import shutil
from pathlib import Path

import pytest

from lyceum_local import backup, config, postgres
from lyceum_local.backup import BackupError
from lyceum_local.paths import cache_folder


@pytest.fixture
async def bin_dir(postgres_url: str) -> Path:
    """Of PostgreSQL's programs, once the server answers."""
    await (await postgres.connect(postgres_url, patience=60)).close()
    return postgres.binaries(cache_folder())


def test_a_damaged_backup_is_refused(postgres_url: str, bin_dir: Path, tmp_path: Path) -> None:
    backup.base_backup(bin_dir, postgres_url, tmp_path / "postgres")
    backup.verify(bin_dir, tmp_path / "postgres")
    log = tmp_path / "postgres" / "base.tar.gz"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    with pytest.raises(BackupError, match="pg_verifybackup failed"):
        backup.verify(bin_dir, tmp_path / "postgres")


def test_a_password_that_is_none_fails_with_postgresqls_own_words(
    postgres_url: str, bin_dir: Path, tmp_path: Path
) -> None:
    user, _, at = postgres_url.partition("@")
    wrong = f"{user.rpartition(':')[0]}:wrong@{at}"
    with pytest.raises(BackupError, match="password authentication failed"):
        backup.base_backup(bin_dir, wrong, tmp_path / "postgres")


def test_what_is_no_backup_of_ours_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="there is no backup"):
        backup.read(tmp_path)
    said = {"format": 99, "taken_at": "2026-11-25", "postgres": "18.6"}
    (tmp_path / "backup.json").write_text(json.dumps(said))
    with pytest.raises(BackupError, match="has format 99"):
        backup.read(tmp_path)
    (tmp_path / "backup.json").write_text(json.dumps({**said, "format": backup.FORMAT, "postgres": "9.6"}))
    with pytest.raises(BackupError, match=r"the backup is of PostgreSQL 9\.6"):
        backup.restore(tmp_path / "data", backup.read(tmp_path))
    assert not (tmp_path / "data").exists()


def test_a_backup_is_taken_of_a_running_platform_and_never_over_another(tmp_path: Path) -> None:
    made = config.create(tmp_path / "data")
    with pytest.raises(BackupError, match="the platform is down"):
        backup.back_up(made, tmp_path / "monday")
    assert not (tmp_path / "monday").exists()
    (tmp_path / "monday").mkdir()
    with pytest.raises(BackupError, match="exists already"):
        backup.back_up(made, tmp_path / "monday")
    shutil.rmtree(tmp_path / "monday")
