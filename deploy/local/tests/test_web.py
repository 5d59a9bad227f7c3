from pathlib import Path

from lyceum_local import web


def make(root: Path) -> Path:
    (root / "src").mkdir()
    (root / "package.json").write_text("{}")
    (root / "src" / "app.ts").write_text("1")
    (root / "dist").mkdir()
    return root


def test_without_a_web_app_there_is_nothing_to_build(tmp_path: Path) -> None:
    assert web.is_current(tmp_path)


def test_a_changed_source_asks_for_a_build_and_what_is_built_does_not(tmp_path: Path) -> None:
    root = make(tmp_path)
    assert not web.is_current(root)
    (root / "dist" / web.STAMP).write_text(web.sources(root))
    assert web.is_current(root)
    (root / "dist" / "index.html").write_text("built")
    (root / "node_modules").mkdir()
    (root / "node_modules" / "x.js").write_text("fetched")
    assert web.is_current(root)
    (root / "src" / "app.ts").write_text("2")
    assert not web.is_current(root)


def test_a_renamed_source_asks_for_a_build(tmp_path: Path) -> None:
    root = make(tmp_path)
    (root / "dist" / web.STAMP).write_text(web.sources(root))
    (root / "src" / "app.ts").rename(root / "src" / "main.ts")
    assert not web.is_current(root)
