"""What a command is given: policies, and the objects of a cluster that say what they are about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from k8s_mcp_server.authoring.cluster_state import ClusterState, read_cluster_state
from k8s_mcp_server.authoring.documents import Document, read_documents
from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.authoring.resources import Served
from k8s_mcp_server.policy.compile import API_VERSION, Policy, read_policy
from k8s_mcp_server.policy.sensitive import OUR_GROUP
from k8s_mcp_server.policy.snapshot import Namespace

KIND: Final = "McpAccessPolicy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The objects of some files, by what they are; what is none of these is left out.

    Args:
        policies: everything of this service's API group, whatever its kind or version.
        namespaces: by name.
        crds: CustomResourceDefinitions.
        cluster: roles and bindings.
    """

    policies: tuple[Document, ...]
    namespaces: Mapping[str, Namespace]
    crds: tuple[Document, ...] = ()
    cluster: ClusterState = field(default_factory=lambda: read_cluster_state(()))

    def served(self) -> Served:
        """What an API server with these CRDs serves.

        Raises:
            UnusableInput: a CRD cannot be read.
        """
        return Served.built_in(item for item in self.crds if item.body.get("spec", {}).get("group") != OUR_GROUP)

    def compiled(self, *, now: datetime) -> tuple[Policy, ...]:
        """The policies as the service reads them, created ``now`` (aware) where they do not say when."""
        return tuple(compile_document(item, now=now) for item in self.policies)


def read_inputs(sources: Iterable[str], *, cluster: Iterable[str] = (), objects: Iterable[Document] = ()) -> Inputs:
    """Read files, folders and ``-``.

    Args:
        cluster: as ``sources``, of the cluster that the policies are in: policies in them do not count.
        objects: likewise, as they are.

    Raises:
        UnusableInput: one cannot be read, or there is no policy in any.
    """
    sources = tuple(sources)
    around = [item for item in (*read_documents(cluster), *objects) if not _is_policy(item)]
    found = sort_documents((*around, *read_documents(sources)))
    if not found.policies:
        raise UnusableInput(f"there is no {KIND} in {', '.join(sources)}")
    return found


def sort_documents(documents: Iterable[Document]) -> Inputs:
    """Objects by what they are.

    Raises:
        UnusableInput: a role or binding cannot be read.
    """
    documents = tuple(documents)
    return Inputs(
        policies=tuple(item for item in documents if _is_policy(item)),
        namespaces={
            item.name: Namespace(name=item.name, labels=_labels(item.body))
            for item in documents
            if item.kind == "Namespace" and not item.group
        },
        crds=tuple(item for item in documents if item.kind == "CustomResourceDefinition"),
        cluster=read_cluster_state(documents),
    )


def compile_document(document: Document, *, now: datetime) -> Policy:
    """A policy as the service reads it; ``now`` is when it was created, unless it says so itself."""
    found = document.body.get("metadata")
    metadata: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    stated = {"creationTimestamp": now.isoformat(), "uid": "", **metadata}
    if not isinstance(stated["creationTimestamp"], str):  # null, as some tools print it
        stated["creationTimestamp"] = now.isoformat()
    kind = document.kind or "nothing"
    version = document.body.get("apiVersion") if kind == KIND else f"{API_VERSION} {kind}"
    return read_policy({**document.body, "apiVersion": version, "metadata": stated})


def _is_policy(item: Document) -> bool:
    return item.group == OUR_GROUP or item.kind == KIND


def _labels(body: Mapping[str, Any]) -> Mapping[str, str]:
    metadata = body.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return {str(key): str(value) for key, value in labels.items()} if isinstance(labels, Mapping) else {}
