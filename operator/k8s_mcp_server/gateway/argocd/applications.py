"""Calls about one application: which action each is, and how it is pinned to the application it was decided on.

Actions are those that server/application/application.go of argo-cd v3 enforces. Here each also needs ``get``, so that
nobody acts on what it may not see. The looked-up project and namespace are written into the message: Argo CD then
refuses an application that has moved in between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from k8s_mcp_server.gateway import protobuf
from k8s_mcp_server.gateway.argocd.messages import decoded
from k8s_mcp_server.gateway.argocd.objects import single
from k8s_mcp_server.gateway.argocd.plan import NotOffered, Plan
from k8s_mcp_server.gateway.protobuf import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k8s_mcp_server.gateway.argocd.asking import Asking
    from k8s_mcp_server.gateway.argocd.messages import Message, Shape
    from k8s_mcp_server.gateway.argocd.objects import Application
    from k8s_mcp_server.policy.request import RequestInfo

    More: TypeAlias = Callable[[Message, Application, Asking], Iterator[RequestInfo]]

HEAD: Final = "HEAD"
CLIENT_INFO: Final = "k8s-mcp.io/client"
_OUR_INFOS: Final = "k8s-mcp.io/"
_INFO_NAME, _INFO_VALUE = 1, 2
_WORD: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.:]*[A-Za-z0-9])?)?")
_SYNC_REVISION, _SYNC_MANIFESTS, _SYNC_REVISIONS = 2, 8, 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The fields of a message that say which application is meant."""

    name: int = 1
    namespace: int
    project: int
    also_project: int = 0  # an older field of the same meaning

    async def find(self, message: Message, asking: Asking) -> Application:
        """The application, which the client may see; raises as `Asking.visible`."""
        projects = {text for text in (*message.texts(self.project), *message.texts(self.also_project)) if text}
        if len(projects) > 1:
            raise Unreadable("more than one project")
        return await asking.visible(
            message.text(self.name), namespace=message.text(self.namespace), project=next(iter(projects), "")
        )

    def pin(self, message: Message, application: Application, *, without: tuple[int, ...] = ()) -> bytes:
        """The message with the application's own namespace and project."""
        return message.encode(
            without=(self.namespace, self.project, self.also_project, *without),
            added=protobuf.text_field(self.namespace, application.namespace)
            + protobuf.text_field(self.project, application.project),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OfApplication:
    """A call about one application.

    Args:
        shape: of its message.
        reference: which application.
        more: the permissions that it needs beside ``get``.
        dry_run: field of the message that makes it a dry run.
        infos: field of the message with what is kept beside the operation; it is told who asked for it.
        may_take_long: as in a call.
    """

    shape: Shape
    reference: Reference
    more: More | None = None
    dry_run: int = 0
    infos: int = 0
    may_take_long: bool = False

    async def plan(self, message: Message, asking: Asking) -> Plan:
        """What the call needs."""
        application = await self.reference.find(message, asking)
        more = self.more(message, application, asking) if self.more else ()
        return Plan(
            required=(asking.about("get", application), *more),
            message=self.reference.pin(message, application) + self._asked_by(message, asking),
            dry_run_field=self.dry_run,
            is_dry=bool(self.dry_run) and message.is_true(self.dry_run),
            may_take_long=self.may_take_long,
        )

    def _asked_by(self, message: Message, asking: Asking) -> bytes:
        """An entry that names the client: Argo CD itself knows only this service's account."""
        if not self.infos:
            return b""
        for info in message.values(self.infos):
            if decoded(single(info, _INFO_NAME)).startswith(_OUR_INFOS):
                raise NotOffered(f"infos that begin with {_OUR_INFOS} are this service's own")
        told = protobuf.text_field(_INFO_NAME, CLIENT_INFO)
        told += protobuf.text_field(_INFO_VALUE, asking.client.username)
        return protobuf.bytes_field(self.infos, told)


def action(verb: str) -> More:
    """One more action on the application."""

    def needs(_: Message, application: Application, asking: Asking) -> Iterator[RequestInfo]:
        yield asking.about(verb, application)

    return needs


def sync(message: Message, application: Application, asking: Asking) -> Iterator[RequestInfo]:
    """A sync; what the application's own spec does not say needs ``override``, too.

    Argo CD asks for it with manifests of the client's own, and with another revision only where it is told to
    (``application.sync.requireOverridePrivilegeForRevisionSync``).
    """
    yield asking.about("sync", application)
    revisions = {text for text in (message.text(_SYNC_REVISION), *message.texts(_SYNC_REVISIONS)) if text}
    own = set() if application.has_sources else {application.revision or HEAD}
    if message.has(_SYNC_MANIFESTS) or revisions - own:
        yield asking.about("override", application)


def logs(_: Message, application: Application, asking: Asking) -> Iterator[RequestInfo]:
    """The logs of its pods."""
    yield asking.about("get", application, resource="logs")


@dataclass(frozen=True, slots=True, kw_only=True)
class OfResource:
    """Fields of a message that say which resource of an application is meant."""

    namespace: int = 2
    name: int = 3
    group: int = 5
    kind: int = 6
    action: int = 7

    def get(self, message: Message, application: Application, asking: Asking) -> Iterator[RequestInfo]:
        """Reading it: no Secrets, though Argo CD masks their values."""
        self._check_no_secret(message, "read")
        yield asking.about("get", application)

    def update(self, message: Message, application: Application, asking: Asking) -> Iterator[RequestInfo]:
        """Patching it."""
        self._check_no_secret(message, "patched")
        yield asking.about("/".join(("update", *self._words(message))), application)

    def delete(self, message: Message, application: Application, asking: Asking) -> Iterator[RequestInfo]:
        """Deleting it."""
        yield asking.about("/".join(("delete", *self._words(message))), application)

    def run(self, message: Message, application: Application, asking: Asking) -> Iterator[RequestInfo]:
        """Running an action of it."""
        group, kind, *_ = self._words(message)
        yield asking.about("/".join(("action", group, kind, _word(message.text(self.action)))), application)

    def _words(self, message: Message) -> tuple[str, str, str, str]:
        group, kind, namespace, name = (
            _word(message.text(number)) for number in (self.group, self.kind, self.namespace, self.name)
        )
        return group, kind, namespace, name

    def _check_no_secret(self, message: Message, what: str) -> None:
        if not message.text(self.group) and message.text(self.kind).casefold() == "secret":
            raise NotOffered(f"Secrets are not {what} through Argo CD; kubectl does, with a rule that names secrets")


def _word(text: str) -> str:
    """One word of an action: nothing in it can be taken for a separator or a glob."""
    if not _WORD.fullmatch(text):
        raise Unreadable("a group, kind, name or action that is none")
    return text
