"""Calls that write an application, decided on what it would become as well as on what it is.

A spec can move an application to another project. That needs ``create`` and ``update`` there besides ``update`` here,
as in ``validateAndNormalizeApp`` (server/application/application.go of argo-cd v3), which goes by the token's rights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway import protobuf
from k8s_mcp_server.gateway.argocd.applications import Reference
from k8s_mcp_server.gateway.argocd.objects import (
    ANNOTATIONS,
    LABELS,
    METADATA,
    NAMESPACE,
    SPEC,
    Application,
    is_name,
    project_of,
    read_application,
    single,
)
from k8s_mcp_server.gateway.argocd.patches import UnreadablePatch, patched_project
from k8s_mcp_server.gateway.argocd.plan import NotOffered, Plan
from k8s_mcp_server.gateway.protobuf import Unreadable

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.argocd.asking import Asking
    from k8s_mcp_server.gateway.argocd.messages import Message
    from k8s_mcp_server.policy.request import RequestInfo

_APPLICATION: Final = 1  # of the requests of Create and Update
_UPDATE_SPEC, _UPDATE_PROJECT = 2, 3
_PATCH, _PATCH_TYPE = 2, 3
_CREATE_UPSERT, _CREATE_VALIDATE, _UPDATE_VALIDATE = 2, 3, 2
UPDATE: Final = "/application.ApplicationService/Update"


async def update_spec(message: Message, asking: Asking) -> Plan:
    """A new spec, which may move the application to another project."""
    reference = Reference(namespace=4, project=5)
    application = await reference.find(message, asking)
    project = project_of(message.data(_UPDATE_SPEC))
    return Plan(required=_moving(application, project, asking), message=reference.pin(message, application))


async def patch(message: Message, asking: Asking) -> Plan:
    """A patch, which may do the same."""
    reference = Reference(namespace=5, project=6)
    application = await reference.find(message, asking)
    try:
        project = patched_project(message.text(_PATCH), patch_type=message.text(_PATCH_TYPE), application=application)
    except UnreadablePatch as error:
        raise NotOffered(f"the patch is refused: {error}") from error
    return Plan(required=_moving(application, project, asking), message=reference.pin(message, application))


async def update(message: Message, asking: Asking) -> Plan:
    """An application as it is to be."""
    wanted = read_application(message.data(_APPLICATION))
    application = await asking.visible(wanted.name, namespace=wanted.namespace, project=message.text(_UPDATE_PROJECT))
    pinned = message.encode(
        without=(_APPLICATION, _UPDATE_PROJECT),
        added=_placed(message.data(_APPLICATION), application.namespace)
        + protobuf.text_field(_UPDATE_PROJECT, application.project),
    )
    return Plan(required=_moving(application, wanted.project, asking), message=pinned)


async def create(message: Message, asking: Asking) -> Plan:
    """A new application; or, with ``upsert``, an update of the one that has its name.

    A creation cannot say which project the application that is there must be in. So an upsert is forwarded as what it
    is: an update of that one, with its labels and annotations kept as an upsert keeps them; or a creation that fails
    when there is one after all.
    """
    data = message.data(_APPLICATION)
    wanted = read_application(data)
    making = asking.about("create", wanted)
    await asking.require(making)
    found = await asking.find(wanted.name, namespace=wanted.namespace) if message.is_true(_CREATE_UPSERT) else None
    if found is not None and not await asking.sees(found):
        raise await asking.hidden(wanted.name)
    if found is None:
        placed = _placed(data, wanted.namespace or asking.instance.namespace)
        return Plan(required=(making,), message=message.encode(without=(_APPLICATION, _CREATE_UPSERT), added=placed))
    validate = message.is_true(_CREATE_VALIDATE) or not message.has(_CREATE_VALIDATE)
    return Plan(
        required=(making, *_moving(found, wanted.project, asking)),
        path=UPDATE,
        message=_placed(data, found.namespace, kept=_kept(found))
        + protobuf.number_field(_UPDATE_VALIDATE, int(validate))
        + protobuf.text_field(_UPDATE_PROJECT, found.project),
    )


def _moving(application: Application, project: str, asking: Asking) -> tuple[RequestInfo, ...]:
    """What an update needs, which leaves the application in ``project``."""
    if not is_name(project):
        raise Unreadable("the project is no name")
    needed = [asking.about("get", application), asking.about("update", application)]
    if project != application.project:
        moved = Application(name=application.name, namespace=application.namespace, project=project)
        needed += [asking.about("create", moved), asking.about("update", moved)]
    return tuple(needed)


def _placed(data: bytes, namespace: str, *, kept: bytes = b"") -> bytes:
    """The field of a request that holds the application, in this namespace, without a status or an operation.

    ``Create`` keeps a status (server/application/application.go), and ``Rollback`` syncs from a source that it finds in
    the history there: any source, whatever the project allows.

    Args:
        kept: fields of its metadata that come before its own, which win where both have a key.
    """
    metadata = kept + protobuf.without(single(data, METADATA), NAMESPACE) + protobuf.text_field(NAMESPACE, namespace)
    application = protobuf.bytes_field(METADATA, metadata) + protobuf.bytes_field(SPEC, single(data, SPEC))
    return protobuf.bytes_field(_APPLICATION, application)


def _kept(application: Application) -> bytes:
    """The labels and annotations of an application, as they stand in its metadata."""
    return b"".join(
        field.raw for field in protobuf.fields(application.metadata) if field.number in {LABELS, ANNOTATIONS}
    )
