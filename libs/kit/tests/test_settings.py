"""Where settings come from."""

from pathlib import Path

import pytest

from lyceum_kit.settings import KitSettings


def test_a_secret_comes_from_its_file_unless_the_environment_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lyceum_kafka_password").write_text("from the file\n")
    mounted = KitSettings(_secrets_dir=tmp_path)  # pyright: ignore[reportCallIssue] - pydantic-settings' own
    assert mounted.kafka_password.get_secret_value() == "from the file"
    monkeypatch.setenv("LYCEUM_KAFKA_PASSWORD", "from the environment")
    both = KitSettings(_secrets_dir=tmp_path)  # pyright: ignore[reportCallIssue]
    assert both.kafka_password.get_secret_value() == "from the environment"
