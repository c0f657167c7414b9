"""The commands about models: list and describe them, load, unload and alias them."""

import json
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from adcaptum.client import ModelInfo, VersionInfo
from adcaptum.client.codec.protojson import to_json
from adcaptum.service.cli import options
from adcaptum.service.cli.listing import model_view, models_table, show
from adcaptum.service.cli.server_options import ServerOptions, asks_server
from adcaptum.service.cli.session import connected

SHOW = "show"

Name = Annotated[str, typer.Argument(help="The model.")]
Version = Annotated[str | None, typer.Option(help="Only this version.")]
Expected = Annotated[
    str | None,
    typer.Option("--expected", metavar="VERSION", help="Where it has to be; '': nowhere."),
]


class ModelsGroup(TyperGroup):
    """A group whose first argument may be a model: `models cells` is `models show cells`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the usual command in front, unless one is named or help is asked for."""
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else [SHOW, *args])


app = typer.Typer(cls=ModelsGroup, help="List, load, unload and alias the models of a server.")


@app.command(SHOW)
@asks_server
def show_models(
    name: Annotated[str | None, typer.Argument(help="Only this one, with its layers.")] = None,
    *,
    as_json: options.AsJson = False,
    server: ServerOptions,
) -> None:
    """List the models with their versions and presets, or describe one."""
    with connected(server, as_json=as_json) as client:
        if name is not None:
            described = client.model(name)
            if as_json:
                _print_json({"model": to_json(described.message)})
            else:
                show(model_view(described))
            return
        listed = client.models()
    if as_json:
        _print_json({"models": [to_json(each.message) for each in listed]})
    else:
        show(models_table(listed))


@app.command()
@asks_server
def load(
    name: Name,
    *,
    version: Version = None,
    wait: Annotated[bool, typer.Option(help="Wait until it serves on every worker.")] = True,
    as_json: options.AsJson = False,
    server: ServerOptions,
) -> None:
    """Load a model from its folder, or load it anew if the folder has changed."""
    with connected(server, as_json=as_json) as client:
        _print_version(client.load_model(name, version=version, wait=wait), as_json=as_json)


@app.command()
@asks_server
def reload(
    names: Annotated[list[str] | None, typer.Argument(help="Models; none: all.")] = None,
    *,
    as_json: options.AsJson = False,
    server: ServerOptions,
) -> None:
    """Load models anew whose folders have changed; what has not changed goes on as it is."""
    with connected(server, as_json=as_json) as client:
        for name in names or [each.name for each in client.models()]:
            _print_version(client.load_model(name), as_json=as_json)


@app.command()
@asks_server
def unload(
    name: Name,
    *,
    version: Version = None,
    as_json: options.AsJson = False,
    server: ServerOptions,
) -> None:
    """Take a model, or one of its versions, out of memory when its requests have finished."""
    with connected(server, as_json=as_json) as client:
        _print_version(client.unload_model(name, version=version), as_json=as_json)


@app.command()
@asks_server
def alias(
    name: Name,
    alias_name: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias.")],
    version: Annotated[str | None, typer.Argument(help="Where it is to be.")] = None,
    *,
    of: Annotated[
        str | None, typer.Option("--of", metavar="ALIAS", help="Where this other alias is.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it.")] = False,
    expected: Expected = None,
    as_json: options.AsJson = False,
    server: ServerOptions,
) -> None:
    """Move an alias to a version that serves, make one, or remove one."""
    if sum((version is not None, of is not None, delete)) != 1:
        raise typer.BadParameter("give a version, --of or --delete", param_hint="VERSION")
    with connected(server, as_json=as_json) as client:
        if delete:
            model = client.delete_alias(name, alias_name, expected_version=expected)
        else:
            model = client.set_alias(
                name, alias_name, version=version, of=of, expected_version=expected
            )
    _print_aliases(model, as_json=as_json)


def _print_version(version: VersionInfo, *, as_json: bool) -> None:
    identity = version.identity
    reason = version.reason or version.load_failure
    if as_json:
        _print_json(
            {
                "name": identity.name,
                "version": identity.version,
                "digest": identity.digest,
                "state": version.state,
                "reason": reason,
            }
        )
    else:
        about = f": {reason}" if reason else ""
        typer.echo(f"{identity.name} {identity.version} {version.state}{about}")


def _print_aliases(model: ModelInfo, *, as_json: bool) -> None:
    if as_json:
        _print_json({"name": model.name, "aliases": dict(model.aliases)})
        return
    for name, version in model.aliases.items():
        typer.echo(f"{name} {version}")


def _print_json(result: object) -> None:
    typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
