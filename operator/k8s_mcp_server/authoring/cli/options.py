"""What several policy commands take, and how they end when it cannot be used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.authoring.output import Format

FILES_HELP = (
    "Policies, with the Namespaces and CRDs that say what they are about: files, folders, or - for standard input."
)

CLUSTER_HELP = (
    "Objects of the cluster, such as Namespaces, CRDs, ClusterRoles and bindings, as `kubectl get -o yaml` prints "
    "them: files, folders, or -; may be repeated. Policies in them do not count."
)

Files = Annotated[list[str], typer.Argument(metavar="FILE...", help=FILES_HELP, show_default=False)]
Output = Annotated[Format, typer.Option("--output", "-o", help="Print text, or values for machines.")]
ClusterFiles = Annotated[
    list[str] | None, typer.Option("--cluster-state", metavar="FILE", help=CLUSTER_HELP, show_default=False)
]
NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="The namespace.", show_default=False)]


def now() -> datetime:
    """The time that everything is decided at."""
    return datetime.now(UTC)


@contextlib.contextmanager
def exit_2_when_unusable() -> Iterator[None]:
    """End with code 2, and say why, when an input cannot be used."""
    try:
        yield
    except UnusableInput as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
