"""What of Argo CD's objects decisions need: who they are, and which project they belong to.

Field numbers are those of pkg/apis/application/v1alpha1/generated.proto of argo-cd v3 and of ObjectMeta in
k8s.io/apimachinery. A field that is looked at may be there once only, so that every reader finds the same in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway import protobuf
from k8s_mcp_server.gateway.argocd.messages import decoded
from k8s_mcp_server.gateway.protobuf import LENGTH_DELIMITED, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

METADATA: Final = 1
SPEC: Final = 2
NAME, NAMESPACE, LABELS, ANNOTATIONS = 1, 3, 11, 12  # of ObjectMeta
_SOURCE, _PROJECT, _SOURCES = 1, 3, 8  # of an ApplicationSpec
_TARGET_REVISION: Final = 4  # of an ApplicationSource
_EVENT_APPLICATION: Final = 2
_DNS_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME: Final = 253
DEFAULT_PROJECT: Final = "default"  # of an application that names none (ApplicationSpec.GetProject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An application, as it is or as a client wants it.

    Args:
        namespace: empty where a client leaves it to Argo CD.
        revision: the one that its source follows; empty for the head.
        has_sources: it has several sources.
        metadata: its ObjectMeta.
    """

    name: str
    namespace: str
    project: str
    revision: str = ""
    has_sources: bool = False
    metadata: bytes = b""


def is_name(text: str) -> bool:
    """Whether the text can be the name of an object: nothing in it could be taken for a separator."""
    return len(text) <= _LONGEST_NAME and _DNS_NAME.fullmatch(text) is not None


def read_application(data: bytes) -> Application:
    """Read an Application.

    Raises:
        Unreadable: it leaves open who it is, or its names are no names.
    """
    metadata, spec = single(data, METADATA), single(data, SPEC)
    source = single(spec, _SOURCE)
    found = Application(
        name=decoded(single(metadata, NAME)),
        namespace=decoded(single(metadata, NAMESPACE)),
        project=project_of(spec),
        revision=decoded(single(source, _TARGET_REVISION)),
        has_sources=any(field.number == _SOURCES for field in protobuf.fields(spec)),
        metadata=metadata,
    )
    if not is_name(found.name) or not is_name(found.project) or not (not found.namespace or is_name(found.namespace)):
        raise Unreadable("an application whose name, namespace or project is no name")
    return found


def project_of(spec: bytes) -> str:
    """The project that an ApplicationSpec names.

    Raises:
        Unreadable: it leaves that open.
    """
    return decoded(single(spec, _PROJECT)) or DEFAULT_PROJECT


def read_project(data: bytes) -> str:
    """The name of an AppProject.

    Raises:
        Unreadable: it leaves that open, or it is no name.
    """
    name = decoded(single(single(data, METADATA), NAME))
    if not is_name(name):
        raise Unreadable("a project whose name is no name")
    return name


def scoped(server: int, project: int) -> Callable[[bytes], str]:
    """A reader of what Argo CD calls a repository or cluster in its RBAC: its address, after its project if it has one.

    Source: ``createRBACObject`` in server/repository/repository.go, ``CreateClusterRBACObject`` in server/cluster.

    Args:
        server: field of the address.
        project: field of the project.
    """

    def read(data: bytes) -> str:
        address, owner = decoded(single(data, server)), decoded(single(data, project))
        if not address:
            raise Unreadable("an object without an address")
        return f"{owner}/{address}" if owner else address

    return read


def event_application(data: bytes) -> bytes:
    """The application in an ApplicationWatchEvent.

    Raises:
        Unreadable: there is none.
    """
    return single(data, _EVENT_APPLICATION)


def single(data: bytes, number: int) -> bytes:
    """The value of a field that may be there once; empty when it is not there.

    Raises:
        Unreadable: it is there more than once, or is no text or message.
    """
    found = [field for field in protobuf.fields(data) if field.number == number]
    if len(found) > 1 or any(field.wire_type != LENGTH_DELIMITED for field in found):
        raise Unreadable(f"field {number} is not there exactly once")
    return found[0].value if found else b""
