"""Which of helm's requests are about releases, and which rights each needs.

Helm keeps a release's revisions in Secrets. A policy gives ``releases`` (what ``helm list``, ``status`` and ``history``
show) and ``releases/content`` (values, manifests, charts) of the virtual group ``helm.sh``; the names in them are those
of releases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.helm.records import RELEASE_TYPE, ReleaseKey, is_release_name
from k8s_mcp_server.gateway.helm.secrets import NotARelease, ReleaseSecret, read_release, read_sent
from k8s_mcp_server.gateway.requestinfo import first
from k8s_mcp_server.gateway.selectors import label_selector_parses
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.virtual import HELM_GROUP

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.target import Target

_EQUAL: Final = re.compile(r"\s*([A-Za-z]+)\s*==?\s*([^\s,=!()<>]+)\s*")
_OWNER: Final = ("owner", "helm")
_CONTENT: Final = "content"


class Operation(StrEnum):
    """What is done to releases, in RBAC's verbs."""

    GET = "get"
    LIST = "list"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self in {Operation.GET, Operation.LIST}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """One request about releases.

    Args:
        info: the request as the API server sees it.
        release: the release's name; empty for a list of all.
        secret: what is to be written, once the body was read.
        problem: why what is to be written is no release; empty when it is one.
    """

    operation: Operation
    info: RequestInfo
    release: str = ""
    key: ReleaseKey | None = None
    secret: ReleaseSecret | None = None
    problem: str = ""

    @property
    def rights(self) -> tuple[RequestInfo, ...]:
        """What is needed, all of it. Who rewrites or deletes a revision could not do so rightly without reading it:
        Helm goes by the manifest in it. The first revision follows none.
        """
        own = self._right(self.operation)
        follows = self.key is not None and (self.operation is not Operation.CREATE or self.key.revision > 1)
        return (own, self._right(Operation.GET, part=_CONTENT)) if follows and not self.operation.is_read else (own,)

    @property
    def content_right(self) -> RequestInfo:
        """For a read: what is needed to see the whole records."""
        return self._right(self.operation, part=_CONTENT)

    def _right(self, verb: Operation, *, part: str = "") -> RequestInfo:
        return RequestInfo(
            is_resource_request=True,
            path=self.info.path,
            verb=verb.value,
            api_prefix="apis",
            api_group=HELM_GROUP,
            namespace=self.info.namespace,
            resource="releases",
            subresource=part,
            name=self.release if verb is not Operation.CREATE else "",
        )


def is_about_secrets(info: RequestInfo) -> bool:
    """Whether the request may be about releases: whole Secrets, by a verb that Helm's storage uses."""
    return (
        info.is_resource_request
        and (info.api_group, info.resource, info.subresource) == ("", "secrets", "")
        and info.verb in set(Operation)
        and not info.upgrade
    )


def read_request(info: RequestInfo, *, target: Target) -> ReleaseRequest | None:
    """A read or delete of releases; None when it is about something else."""
    if info.verb == Operation.LIST:
        return _listing(info, target)
    key = ReleaseKey.of(info.name)
    if key is None or info.verb not in {Operation.GET, Operation.DELETE}:
        return None
    return ReleaseRequest(operation=Operation(info.verb), info=info, release=key.release, key=key)


def read_write(info: RequestInfo, *, body: bytes, content_type: str) -> ReleaseRequest | None:
    """A create or update of a release; None when the body is that of another Secret, or cannot be read."""
    sent = read_sent(body, content_type=content_type)
    if sent is None or not sent.claims_to_be_release:
        return None
    operation = Operation(info.verb)
    try:
        secret = read_release(sent, namespace=info.namespace, name=info.name)
    except NotARelease as error:
        return ReleaseRequest(operation=operation, info=info, problem=f"This is no release of Helm's: {error}.")
    return ReleaseRequest(operation=operation, info=info, release=secret.key.release, key=secret.key, secret=secret)


def only_releases(target: Target) -> Target:
    """The list's target, asking for whole Secrets of Helm's type and owner, all of them at once."""
    selector = first(target.query, "labelSelector") or ""
    if _OWNER not in _terms(selector):
        selector = ",".join(filter(None, (selector, "=".join(_OWNER))))
    target = target.without("limit", "continue", "pretty", "includeObject")
    return target.with_parameter("labelSelector", selector).with_parameter("fieldSelector", f"type={RELEASE_TYPE}")


def _listing(info: RequestInfo, target: Target) -> ReleaseRequest | None:
    """Helm's lists are by label: ``owner=helm``, for one release also ``name``."""
    selector = first(target.query, "labelSelector") or ""
    terms = _terms(selector)
    if _OWNER not in terms or not label_selector_parses(selector) or first(target.query, "fieldSelector"):
        return None
    names = {value for key, value in terms if key == "name"}
    name = names.pop() if len(names) == 1 else ""
    return ReleaseRequest(operation=Operation.LIST, info=info, release=name if is_release_name(name) else "")


def _terms(selector: str) -> set[tuple[str, str]]:
    """Those of the selector's terms that are an equality; every one of them narrows it."""
    matches = (_EQUAL.fullmatch(term) for term in selector.split(","))
    return {(match[1], match[2]) for match in matches if match}
