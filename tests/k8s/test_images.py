"""The Dockerfile against the code, without Docker: what it copies is there and is enough, what it installs is locked."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lyceum_local.images import IMAGES, build_command, named_in, push
from lyceum_local.locks import asked_by
from lyceum_local.paths import SERVICES, repository
from lyceum_local.testing.kubernetes import OVERLAYS, render

ROOT = repository()
DOCKERFILE = (ROOT / "deploy" / "images" / "Dockerfile").read_text()
LOCAL = "deploy/local/src/lyceum_local/"
# Images with some modules of lyceum_local, and where each begins.
BEGINS = {"web": "front", "parts": "pod"}


def stage(name: str) -> str:
    return re.split(r"^FROM .* AS ", DOCKERFILE.partition(f" AS {name}\n")[2], maxsplit=1, flags=re.M)[0]


def copied(text: str) -> list[str]:
    """What is copied from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", text.replace("\\\n", " "), re.M)
    return [source for line in lines for source in line.split()[:-1]]


def needed(module: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """The modules of lyceum_local that a module imports, and they in turn, when it is imported."""
    seen |= {module}
    for node in ast.parse((ROOT / LOCAL / f"{module}.py").read_text()).body:
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module == "lyceum_local":
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lyceum_local."):
            names = [str(node.module).partition(".")[2]]
        for name in names:
            if name not in seen:
                seen |= needed(name, seen)
    return seen


def missing(image: str, text: str) -> set[str]:
    there = {Path(source).stem for source in copied(text) if source.startswith(LOCAL)}
    return {*needed(BEGINS[image]), "__init__"} - there


@pytest.mark.parametrize("image", BEGINS)
def test_an_image_has_every_module_that_it_imports(image: str) -> None:
    assert missing(image, stage(image)) == set()
    for module in needed(BEGINS[image]):  # the control: each of them would be missed
        assert missing(image, stage(image).replace(f"{LOCAL}{module}.py", "")) == {module}


def test_what_is_copied_is_there() -> None:
    sources = [
        s.replace("${SERVICE}", name) for s in copied(DOCKERFILE) for name in IMAGES if name not in BEGINS
    ]
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_every_image_is_a_target() -> None:
    for image in IMAGES.values():
        assert f" AS {image.target}\n" in DOCKERFILE
        command = build_command(image, "1.0.0", "base@sha256:0")
        assert "BASE=base@sha256:0" in command
        assert (f"SERVICE={image.service}" in command) is bool(image.service)


def test_everything_is_installed_by_hash() -> None:
    installs = re.findall(r"pip install[^&\n]*", DOCKERFILE.replace("\\\n", " "))
    assert [line for line in installs if "--require-hashes" not in line] == []


def test_no_image_ends_as_root() -> None:
    for target in {image.target for image in IMAGES.values()}:
        text = stage(target)
        inherited = stage("service") if target == "player" else ""
        assert re.findall(r"^USER (.+)$", inherited + text, re.M)[-1] == "10001:10001"


def demanded(*projects: str) -> list[str]:
    """What the build stage asks the installer for."""
    command = [sys.executable, "deploy/images/demands.py", "requirements.lock", *projects]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_gets_what_it_asks_for(service: str) -> None:
    asked = {
        t for t in asked_by(ROOT / "services" / service / "pyproject.toml") if not t.startswith("lyceum-")
    }
    assert set(demanded(f"services/{service}")) == asked  # pinned in the project as well


def test_extras_stay_and_names_choose() -> None:
    assert any(line.startswith("faststream[kafka,otel,prometheus]==") for line in demanded("libs/kit"))
    assert [line.partition("==")[0] for line in demanded("deploy/local:jgo,psutil")] == ["jgo", "psutil"]
    with pytest.raises(subprocess.CalledProcessError):
        demanded("deploy/local:left-pad")


def test_the_lists_of_ha_and_airgap_name_the_same_images_in_the_same_order() -> None:
    """What docs/operations/kubernetes.md mirrors: each image of the one goes to where the other takes it from."""
    ha, airgap = (named_in(render(OVERLAYS / name)) for name in ("ha", "airgap"))
    assert [image.rpartition("/")[2] for image in ha] == [image.rpartition("/")[2] for image in airgap]
    moved = [image for image in ha if image not in airgap]
    assert {image.partition(":")[0].rpartition("/")[2] for image in moved} == {
        "clickhouse-server",
        "clickhouse-keeper",
        "postgresql",
    }


def test_what_is_pushed_is_pinned_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a Docker that only tells what it was asked."""
    digest = f"sha256:{'1' * 64}"
    told = f'["other.example.com/x@sha256:0", "registry.example.com/lyceum/web@{digest}"]'
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\necho \"$@\" >>{tmp_path}/asked\ncase $1 in image) echo '{told}' ;; esac\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (entry,) = push(["web"], "1.0.0", "registry.example.com")
    assert yaml.safe_load(entry) == [
        {"name": "lyceum/web", "newName": "registry.example.com/lyceum/web", "digest": digest}
    ]
    tagged, pushed, _ = (tmp_path / "asked").read_text().splitlines()
    assert tagged == "tag lyceum/web:1.0.0 registry.example.com/lyceum/web:1.0.0"
    assert pushed == "push --quiet registry.example.com/lyceum/web:1.0.0"
