"""For who builds Lyceum: images, locks, tests, measurements."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from lyceum_local import lifecycle
from lyceum_local.cli.terminal import app, console, errors, group, stop
from lyceum_local.images import IMAGES
from lyceum_local.paths import repository

images_app = group("images", "Container images, for clusters.")


Tag = Annotated[str, typer.Option(help="Of the images; they are called lyceum/<name>.")]


@images_app.command("build")
def images_build(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(IMAGES)}; all without it.")
    ] = None,
    tag: Tag = "dev",
    base: Annotated[
        str, typer.Option(help="Image with Python 3.11 or newer; else the Dockerfile's own.")
    ] = "",
    network: Annotated[str, typer.Option(help="Of the builds, as Docker calls it.")] = "default",
) -> None:
    """Build images with Docker, from deploy/images/Dockerfile."""
    from lyceum_local import images

    if unknown := set(names or ()) - IMAGES.keys():
        stop(f"There is no image {', '.join(sorted(unknown))}: one of {', '.join(IMAGES)}.")
    for reference in images.build(names or IMAGES, tag, base=base, more=[f"--network={network}"]):
        console.print(f"[green]built[/] {reference}")


@images_app.command("push")
def images_push(
    registry: Annotated[str, typer.Argument(help="Host and path before lyceum/<name>.")], tag: Tag = "dev"
) -> None:
    """Push built images, and print their digests as an overlay's kustomization wants them."""
    from lyceum_local import images

    for entry in images.push([name for name in IMAGES if name != "parts"], tag, registry):
        print(entry)  # noqa: T201


@images_app.command("list")
def images_list(
    overlay: Annotated[str, typer.Argument(help="A folder of deploy/k8s/overlays.")],
) -> None:
    """Every image that an overlay runs, one a line. Needs kubectl."""
    from lyceum_local import images
    from lyceum_local.testing.kubernetes import OVERLAYS, render

    if not (OVERLAYS / overlay).is_dir():
        stop(
            f"There is no overlay {overlay}: one of {', '.join(sorted(o.name for o in OVERLAYS.iterdir()))}."
        )
    for reference in images.named_in(render(OVERLAYS / overlay)):
        print(reference)  # noqa: T201


@images_app.command("sbom")
def images_sbom(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(IMAGES)}.")], tag: Tag = "dev"
) -> None:
    """What is in a built image, as CycloneDX JSON."""
    from lyceum_local import images

    if name not in IMAGES:
        stop(f"{name!r} is no image: one of {', '.join(IMAGES)}.")
    print(json.dumps(images.sbom(name, tag), indent=1))  # noqa: T201


@app.command()
def lock(
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether the locks fit the projects.")
    ] = False,
) -> None:
    """Make the locks anew: requirements.lock, requirements-dev.lock, kafka.lock.toml."""
    from lyceum_local import locks

    if check:
        wrong = locks.drift(repository())
        for line in wrong:
            errors.print(line, markup=False)
        if wrong:
            stop("The locks do not fit: run ./lyceum lock.")
        console.print("The locks fit.")
    else:
        console.print("Written: " + ", ".join(locks.write()))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(context: typer.Context) -> None:
    """Run all tests, or what the arguments for pytest say. `--faults`: the long fault runs too. `--k8s`: those that
    want a cluster, on the one that KUBECONFIG names. `--containers`: those that want Docker and a registry."""
    arguments = [a for a in context.args if a not in ("--faults", "--k8s", "--containers")]
    here = "not k8s and not containers"
    if "--k8s" in context.args:
        arguments = ["-m", "k8s", "--timeout=3600", "tests/k8s", *arguments]
    elif "--containers" in context.args:
        arguments = ["-m", "containers", "--timeout=3600", "tests/containers", *arguments]
    elif "--faults" in context.args:
        arguments = ["-m", here, "--timeout=3600", *arguments]
    else:
        arguments = ["-m", f"not faults and {here}", *arguments]
    if not context.args:
        # Everything, by two workers: most tests wait for other processes. What both use is there before they start.
        with tempfile.TemporaryDirectory() as folder:
            lifecycle.fetch(Path(folder), console.print)
        arguments += ["-n", "2", "--dist", "loadfile"]
    env = os.environ | {"LYCEUM_CHROMIUM": browser()}
    if not env["LYCEUM_CHROMIUM"]:
        del env["LYCEUM_CHROMIUM"]
    here = Path(sys.executable).parent
    env["PATH"] = f"{here}{os.pathsep}{env.get('PATH', '')}"
    raise typer.Exit(
        subprocess.run(
            [sys.executable, "-m", "pytest", *arguments], cwd=repository(), env=env, check=False
        ).returncode
    )


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False
)
def bench(context: typer.Context) -> None:
    """Measure every hop beside its peer; names choose which. `--help` lists them."""
    command = [sys.executable, "-m", "benchmarks", *context.args]
    raise typer.Exit(subprocess.run(command, cwd=repository(), check=False).returncode)


def browser() -> str:
    """A system Chromium, from apt where we may; empty: Playwright has its own."""
    if found := shutil.which("chromium") or shutil.which("chromium-browser"):
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        console.print("Installing Chromium with apt-get")
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=env, check=False)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "chromium"], env=env, check=False, stdout=subprocess.DEVNULL
        )
        if found := shutil.which("chromium"):
            return found
    console.print("Installing Playwright's Chromium")
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    return ""
