"""The ``k8s-mcp-server`` command: run the service, and ask what it would do.

Exit codes: 0 done, 1 the answer is no (or the service failed), 2 the settings or the command line cannot be used.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import platform
import time
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
import yaml

from k8s_mcp_server.authoring.cli.app import policy_app
from k8s_mcp_server.authoring.cli.writing import grant_command
from k8s_mcp_server.errors import ConfigurationError
from k8s_mcp_server.settings import Settings, config_file, load_settings, unknown_variables

DISTRIBUTION: Final = "k8s-mcp-server"

app = typer.Typer(
    name=DISTRIBUTION,
    help="kubectl and other CLIs for remote LLM agents over MCP, each agent held to its McpAccessPolicy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config = typer.Typer(help="Check and show the settings.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config, name="config")
app.add_typer(policy_app, name="policy")
app.command("grant")(grant_command)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Settings file; else K8S_MCP_CONFIG, else /etc/k8s-mcp-server/config.yaml if it is there.",
    ),
]


@app.command()
def serve(
    config_path: ConfigOption = None,
    *,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="Outside a cluster: by whose rights to get a token of the service's own ServiceAccount."),
    ] = None,
    context: Annotated[
        str, typer.Option(envvar="K8S_CONTEXT", help="Context of the kubeconfig; else its current one.")
    ] = "",
) -> None:
    """Run the service until SIGTERM or SIGINT."""
    settings = _settings(config_path)
    gc.disable()  # nothing of what is imported is garbage: a seventh of the time; `run` enables it
    from k8s_mcp_server.startup import run  # noqa: PLC0415 - MCP takes seconds to import, and only this command needs it

    raise typer.Exit(run(settings, kubeconfig=kubeconfig, context=context))


@app.command()
def preflight(
    config_path: ConfigOption = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    node: Annotated[str, typer.Option(help="What to call the node in the answer.")] = "",
    linger: Annotated[
        float,
        typer.Option(min=0, max=300, help="Seconds to stay afterwards, so that a Job's other Pods go to other nodes."),
    ] = 0,
) -> None:
    """Say what this node's kernel gives the sandbox. Exit code 1: less than the settings ask for."""
    settings = _settings(config_path)
    from k8s_mcp_server.startup import check_node  # noqa: PLC0415 - as above

    report = {"node": node or platform.node(), **check_node(settings)}
    lines = json.dumps(report) if as_json else "\n".join(f"{key}: {value}" for key, value in report.items())
    typer.echo(lines)
    time.sleep(linger)
    raise typer.Exit(0 if report["sufficient"] else 1)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(importlib.metadata.version(DISTRIBUTION))


@config.command("check")
def config_check(
    file: Annotated[Path | None, typer.Argument(help="Settings file; as --config of `serve` when left out.")] = None,
) -> None:
    """Say whether the settings can be used, and which keys cannot. Exit code 1: they cannot."""
    try:
        load_settings(file)
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    for name in unknown_variables():
        typer.echo(f"warning: environment variable {name} is not a setting", err=True)
    typer.echo(f"ok: {config_file(file) or 'no file, defaults'}")


@config.command("show")
def config_show(config_path: ConfigOption = None) -> None:
    """Print every setting as it is in force, as a file that could be used. Nothing in it is secret."""
    settings = _settings(config_path)
    values = settings.model_dump(mode="json")
    blocks = []
    for name, field in Settings.model_fields.items():
        entry = yaml.safe_dump({name: values[name]}, allow_unicode=True, width=1000)
        blocks.append(f"# {' '.join((field.description or '').split())}\n{entry}")
    typer.echo("\n".join(blocks), nl=False)


def main() -> None:
    """Entry point of the console script."""
    app()


def _settings(path: Path | None) -> Settings:
    try:
        return load_settings(path)
    except ConfigurationError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(2)
