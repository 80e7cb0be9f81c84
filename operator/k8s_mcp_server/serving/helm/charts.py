"""Where the charts of a command come from: repositories and registries that the policy names, each by its name or URL.

The client never sees a credential: it is in a file of the command's that no word of a command line can name, and goes
to the host that it is for.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from k8s_mcp_server.commands.files import find_file
from k8s_mcp_server.commands.helm.catalog import CHART_OPERAND
from k8s_mcp_server.errors import CommandDenied, CommandRefused, Unavailable
from k8s_mcp_server.execution.pipeline import ChartAccess
from k8s_mcp_server.policy.connections import chart_repositories, decide_connection
from k8s_mcp_server.policy.egress import ChartRepository, endpoint_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from k8s_mcp_server.commands.helm.words import HelmCommand
    from k8s_mcp_server.policy.case import DecisionContext

SEARCH: Final = "search repo"
PULL: Final = "pull"
_SECRET_TYPE: Final = "kubernetes.io/basic-auth"  # noqa: S105 - a type of Secrets, not one of them
_MOST_TOLD: Final = 10


class Secrets(Protocol):
    """Secrets of the service's own namespace."""

    async def read(self, name: str) -> Mapping[str, Any]:
        """One of them, as the API server has it.

        Raises:
            Unavailable: it cannot be read.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a command needs of chart hosts.

    Args:
        command: with its charts as helm is to find them.
        repositories: the chart repositories that it reads, whose indexes it needs.
        registries: the registries.
    """

    command: HelmCommand
    repositories: tuple[ChartRepository, ...] = ()
    registries: tuple[ChartRepository, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A name and a password."""

    username: str
    password: str = field(repr=False)


def find_sources(command: HelmCommand, *, files: Collection[str], context: DecisionContext) -> Sources | None:
    """Where its charts come from; None when it reaches no chart host.

    Raises:
        CommandDenied: the policy names no such repository or host.
        CommandRefused: a chart of a repository with credentials is given by its own URL.
    """
    known = chart_repositories(context)
    if command.name == SEARCH:
        if not (repositories := tuple(each for each in known if not each.is_registry)):
            raise _no_repository("there is nothing to search", known)
        return Sources(command=command, repositories=repositories)
    at = CHART_OPERAND.get(command.name)
    operands = list(command.operands)
    if at is None or not -len(operands) <= at < len(operands) or command.asks_for_help:
        return None
    places = range(len(operands)) if command.name == PULL else [at % len(operands)]
    sources = Sources(command=command.without("repo"))
    for place in places:
        if not command.has("repo") and find_file(operands[place], files):
            continue
        chart, source = _locate(operands[place], url=command.value("repo"), known=known, context=context)
        operands[place] = chart
        if source is not None and source.is_registry:
            sources = replace(sources, registries=(*sources.registries, source))
        elif source is not None:
            sources = replace(sources, repositories=(*sources.repositories, source))
    if tuple(operands) == command.operands and all(find_file(each, files) for each in (operands[p] for p in places)):
        return None
    return replace(sources, command=replace(sources.command, operands=tuple(operands)))


def _locate(
    chart: str, *, url: str, known: Sequence[ChartRepository], context: DecisionContext
) -> tuple[str, ChartRepository | None]:
    """The chart as helm is to find it, and the repository or registry that it belongs to."""
    if url:
        return _in_repository(chart, url=url, known=known)
    return _by_url(chart, known=known, context=context) if "://" in chart else _by_name(chart, known=known)


def _in_repository(chart: str, *, url: str, known: Sequence[ChartRepository]) -> tuple[str, ChartRepository]:
    for each in known:
        if each.url == url.rstrip("/") and not each.is_registry:
            return f"{each.name}/{chart}", each
    raise _no_repository(f"no policy names the repository {url[:200]!r}", known)


def _by_name(chart: str, *, known: Sequence[ChartRepository]) -> tuple[str, ChartRepository]:
    name, _, rest = chart.partition("/")
    for each in known:
        if each.name == name:
            return (f"{each.url}/{rest}", each) if each.is_registry else (chart, each)
    raise _no_repository(f"no policy names a repository {name[:63]!r}", known)


def _by_url(
    chart: str, *, known: Sequence[ChartRepository], context: DecisionContext
) -> tuple[str, ChartRepository | None]:
    if "@" in chart.partition("://")[2].partition("/")[0]:
        raise _no_repository("a URL with a user in it is not taken: credentials are the service's", known)
    try:
        endpoint = endpoint_of(chart)
    except ValueError:
        raise _no_repository("the URL cannot be read", known) from None
    decision = decide_connection(endpoint, context).decision
    if not decision.allowed:
        raise CommandDenied(decision.reason.value, decision.message, hint=_told(known))
    own = [each for each in known if chart.startswith(f"{each.url}/")]
    source = max(own, key=lambda each: len(each.url), default=None)
    if source is not None and source.secret and not source.is_registry:
        raise CommandRefused(
            "ChartByName",
            f"helm uses the credentials of {source.name} only for charts by their names.",
            instead=f"Write {source.name}/CHART, and --version for an older one; `helm search repo` has them.",
        )
    return chart, source


async def chart_access(sources: Sources, *, secrets: Secrets, authorities: bytes, cache: Path) -> ChartAccess:
    """What helm gets to reach them.

    Raises:
        Unavailable: a Secret cannot be read, or is none with a name and a password.
    """
    repositories = [await _entry(each, secrets) for each in sources.repositories]
    auths = {}
    for registry in sources.registries:
        if (found := await _credentials(registry, secrets)) is not None:
            text = f"{found.username}:{found.password}".encode()
            auths[registry.netloc] = {"auth": base64.b64encode(text).decode()}
    return ChartAccess(
        repositories=json.dumps({"apiVersion": "", "repositories": repositories}).encode(),
        registries=json.dumps({"auths": auths}).encode(),
        authorities=authorities,
        cache=cache,
    )


async def _entry(repository: ChartRepository, secrets: Secrets) -> dict[str, Any]:
    """As helm's repositories.yaml has it (pkg/repo/v1/chartrepo.go); credentials go to its own host only."""
    found = await _credentials(repository, secrets)
    own = {"username": found.username, "password": found.password} if found else {}
    return {"name": repository.name, "url": repository.url, "pass_credentials_all": False, **own}


async def _credentials(repository: ChartRepository, secrets: Secrets) -> Credentials | None:
    if not repository.secret:
        return None
    body = await secrets.read(repository.secret)
    data = (body.get("data") or {}) if body.get("type") == _SECRET_TYPE else {}
    try:
        username, password = (base64.b64decode(data[key], validate=True).decode() for key in ("username", "password"))
    except (KeyError, ValueError, binascii.Error) as error:
        message = f"the credentials of the repository {repository.name} are no Secret of type {_SECRET_TYPE}"
        raise Unavailable(message) from error
    return Credentials(username=username, password=password)


def _no_repository(why: str, known: Sequence[ChartRepository]) -> CommandDenied:
    return CommandDenied("NoRepository", f"{why[:1].upper()}{why[1:]}.", hint=_told(known))


def _told(known: Sequence[ChartRepository]) -> str:
    """The repositories that the client has."""
    if not known:
        return "your policies name no chart repository; pass the chart's files in the files argument"
    listed = ", ".join(f"{each.name} ({each.url})" for each in known[:_MOST_TOLD])
    return f"your policies name: {listed}; write REPOSITORY/CHART"
