"""Whom a policy names, and an index from a client to the policies that name it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from k8s_mcp_server.policy.identity import Authenticator, Client
from k8s_mcp_server.policy.model import RESERVED_SUBJECTS

T = TypeVar("T")


class SubjectKind(StrEnum):
    """The kinds of an RBAC subject."""

    USER = "User"
    GROUP = "Group"
    SERVICE_ACCOUNT = "ServiceAccount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One way to name a client. ``name`` of a User or Group may end in ``*``; ``namespace`` is a ServiceAccount's."""

    kind: SubjectKind
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def _names(client: Client) -> Iterator[tuple[SubjectKind, str]]:
    """The client's names that a subject may match.

    What begins with ``system:`` counts only when a TokenReview returned it, and the groups that everybody is in never.
    """
    proven = client.authenticator is Authenticator.TOKEN_REVIEW
    named = [(SubjectKind.USER, client.username), *((SubjectKind.GROUP, group) for group in client.groups)]
    for kind, name in named:
        if name and name not in RESERVED_SUBJECTS and (proven or not name.startswith("system:")):
            yield kind, name


def counted_groups(client: Client) -> Iterator[str]:
    """The client's groups that a policy may go by."""
    return (name for kind, name in _names(client) if kind is SubjectKind.GROUP)


class SubjectIndex(Generic[T]):
    """Finds what names a client in time that does not grow with the number of entries."""

    def __init__(self, entries: Iterable[tuple[Subject, T]]) -> None:
        self._exact: dict[tuple[SubjectKind, str], list[T]] = {}
        self._accounts: dict[tuple[str, str], list[T]] = {}
        self._prefixes: dict[tuple[SubjectKind, str], list[T]] = {}
        lengths: dict[SubjectKind, set[int]] = {kind: set() for kind in SubjectKind}
        for subject, value in entries:
            if subject.kind is SubjectKind.SERVICE_ACCOUNT:
                self._accounts.setdefault((subject.namespace, subject.name), []).append(value)
            elif subject.name.endswith("*"):
                prefix = subject.name.removesuffix("*")
                self._prefixes.setdefault((subject.kind, prefix), []).append(value)
                lengths[subject.kind].add(len(prefix))
            else:
                self._exact.setdefault((subject.kind, subject.name), []).append(value)
        self._lengths = {kind: tuple(sorted(found)) for kind, found in lengths.items()}

    def find(self, client: Client) -> list[T]:
        """Everything that names the client; an entry that names it twice is there twice."""
        found: list[T] = []
        if client.service_account is not None:
            found += self._accounts.get(client.service_account, ())
        for kind, name in _names(client):
            found += self._exact.get((kind, name), ())
            for length in self._lengths[kind]:
                if length > len(name):
                    break
                found += self._prefixes.get((kind, name[:length]), ())
        return found
