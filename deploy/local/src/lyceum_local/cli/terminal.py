"""The app, what its commands share, and how they speak to whoever called them."""

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from lyceum_local import config as configuration
from lyceum_local.config import Config
from lyceum_local.paths import SERVICES, data_folder

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The whole platform on one machine.",
    pretty_exceptions_enable=False,
)

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Where everything is kept; else LYCEUM_DATA, else your data folder."),
]
Service = Annotated[str, typer.Argument(help=f"One of {', '.join(SERVICES)}.")]
Tenant = Annotated[str, typer.Option("--tenant", help="The tenant's slug.")]


def group(name: str, what: str) -> typer.Typer:
    """Commands of two words."""
    made = typer.Typer(no_args_is_help=True, help=what)
    app.add_typer(made, name=name)
    return made


def folder(chosen: Path | None) -> Path:
    return chosen.expanduser().absolute() if chosen else data_folder()


def installed(chosen: Path | None) -> Config:
    config = configuration.load(folder(chosen))
    if config is None:
        stop(f"There is no installation in {folder(chosen)}: run ./lyceum up first.")
    return config


def stop(why: str) -> NoReturn:
    errors.print(why, markup=False)
    raise typer.Exit(1)


def known(service: str) -> str:
    if service not in SERVICES:
        stop(f"{service!r} is no service: one of {', '.join(SERVICES)}.")
    return service


def show_once(answer: dict[str, Any]) -> None:
    console.print_json(data=answer)
    errors.print("Keep any secret or link from this answer now: it is not shown again.")
