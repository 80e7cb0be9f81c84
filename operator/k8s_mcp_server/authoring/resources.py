"""What an API server serves, without one: Kubernetes' own resources as checked in, and CRDs given as files.

``data/discovery.json`` is written by ``devtools/kubernetes_snapshot.py`` from a real API server, and a test compares it
with one. It is the server's own discovery, so that it can also be served to kubectl.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import yaml

from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.cluster.discovery import resources_of
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.virtual import VIRTUAL_RESOURCES, scope_of

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.documents import Document

_CRD_VERBS: Final = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_SUBRESOURCE_VERBS: Final = ["get", "patch", "update"]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ResourceName:
    """A resource or subresource as a rule means it; ``str`` spells it as kubectl does: ``deployments.apps/scale``."""

    group: str
    resource: str
    subresource: str = ""

    @property
    def in_rule(self) -> str:
        """As a rule's ``resources`` spells it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def __str__(self) -> str:
        group = f".{self.group}" if self.group else ""
        return f"{self.resource}{group}{f'/{self.subresource}' if self.subresource else ''}"

    def request(self, verb: str, *, namespace: str = "", name: str = "") -> RequestInfo:
        """The request for it, with the attributes that an API server would see."""
        is_namespace = (self.group, self.resource) == ("", "namespaces")
        return RequestInfo(
            is_resource_request=True,
            path="",
            verb=verb,
            api_group=self.group,
            resource=self.resource,
            subresource=self.subresource,
            namespace=name if is_namespace else namespace,
            name=name,
            audiences=(),
        )


class Served:
    """What is served, and what exists only in this service, to look things up in.

    Args:
        documents: aggregated discovery by path, ``/api`` and ``/apis``.
    """

    def __init__(self, documents: Mapping[str, Any]) -> None:
        self.documents = documents
        self.catalog = Catalog(
            resource for path in ("/api", "/apis") for resource in resources_of(self.documents[path])
        )
        self._verbs: dict[ResourceName, frozenset[str]] = {}
        self._nicknames: dict[str, list[ResourceName]] = {}
        for name, item in _entries(documents):
            self._verbs.setdefault(name, frozenset(item.get("verbs") or ()))
            if not name.subresource:
                kind = (item.get("responseKind") or {}).get("kind", "")
                words = (name.resource, item.get("singularResource", ""), kind.lower(), *item.get("shortNames", ()))
                for word in dict.fromkeys(words):
                    self._nicknames.setdefault(word, []).append(name)
        for virtual in VIRTUAL_RESOURCES:
            name = ResourceName(group=virtual.group, resource=virtual.resource)
            self._verbs[name] = virtual.verbs
            self._nicknames.setdefault(virtual.resource, []).append(name)

    @classmethod
    def built_in(cls, crds: Iterable[Document] = ()) -> Served:
        """Kubernetes' own resources, those of these CRDs, and this service's own."""
        documents = copy.deepcopy(dict(_snapshot()))
        bodies = [(item.body, item.source) for item in crds]
        for body, source in (*bodies, (own_crd(), "crds")):
            _add_group(documents["/apis"]["items"], _discovery_group(body, source=source))
        return cls(documents)

    def __iter__(self) -> Iterator[ResourceName]:
        """Every resource and subresource."""
        return iter(self._verbs)

    @property
    def groups(self) -> frozenset[str]:
        """The API groups."""
        return frozenset(name.group for name in self._verbs)

    def verbs(self, name: ResourceName) -> frozenset[str]:
        """The verbs that it answers; empty when it is not served."""
        return self._verbs.get(name, frozenset())

    def scope(self, name: ResourceName) -> Scope | None:
        """Namespaced or Cluster; None when it is neither served nor virtual."""
        return scope_of(self.catalog, group=name.group, resource=name.resource)

    def find(self, text: str) -> ResourceName:
        """What kubectl would understand: ``deploy``, ``Pod``, ``deployments.apps/scale``, ``widgets.example.com``.

        A name with a group is taken as it is, whether or not it is known.

        Raises:
            UnusableInput: nothing has that name.
        """
        whole, _, subresource = text.partition("/")
        resource, _, group = whole.partition(".")
        found = self.named(resource)
        if group:
            in_group = [name for name in found if name.group == group]
            resource = in_group[0].resource if in_group else resource
            return ResourceName(group=group, resource=resource, subresource=subresource)
        if not found:
            near = difflib.get_close_matches(resource.lower(), self._nicknames, n=1)
            advice = f"; did you mean {near[0]}?" if near else "; write <plural>.<group>, or give its CRD"
            raise UnusableInput(f"no resource is called {resource}{advice}")
        return ResourceName(group=found[0].group, resource=found[0].resource, subresource=subresource)

    def named(self, word: str) -> list[ResourceName]:
        """The resources with this plural, singular, short name or kind; the core group's first."""
        return sorted(self._nicknames.get(word.lower(), ()))

    def with_assumed(self, assumed: Iterable[ApiResource]) -> Catalog:
        """The catalog, and these where it has nothing of that name."""
        return Catalog((*assumed, *self.catalog))


@cache
def own_crd() -> Mapping[str, Any]:
    """The CRD of McpAccessPolicy, as ``crds/`` has it."""
    found: dict[str, Any] = yaml.safe_load(_data("mcpaccesspolicies.yaml"))
    return found


@cache
def _snapshot() -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads(_data("discovery.json"))
    return found


def _data(name: str) -> str:
    return resources.files("k8s_mcp_server.authoring").joinpath("data", name).read_text(encoding="utf-8")


def _entries(documents: Mapping[str, Any]) -> Iterator[tuple[ResourceName, Mapping[str, Any]]]:
    for path in ("/api", "/apis"):
        for group in documents[path].get("items") or ():
            name = group.get("metadata", {}).get("name", "")
            for version in group.get("versions") or ():
                for item in version.get("resources") or ():
                    yield ResourceName(group=name, resource=item["resource"]), item
                    for sub in item.get("subresources", ()):
                        yield ResourceName(group=name, resource=item["resource"], subresource=sub["subresource"]), sub


def _add_group(groups: list[dict[str, Any]], added: Mapping[str, Any]) -> None:
    """Add a group, or what it holds to the group of that name: several CRDs make one group."""
    group = next((item for item in groups if item["metadata"].get("name") == added["metadata"]["name"]), None)
    if group is None:
        groups.append(copy.deepcopy(dict(added)))
        return
    for version in added["versions"]:
        same = next((item for item in group["versions"] if item["version"] == version["version"]), None)
        if same is None:
            group["versions"].append(version)
        else:
            same["resources"] += version["resources"]


def _discovery_group(crd: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """A CRD as a group of aggregated discovery."""
    try:
        spec, names = crd["spec"], crd["spec"]["names"]
        kind = {"group": spec["group"], "version": "", "kind": names["kind"]}
        versions = [
            {
                "version": version["name"],
                "resources": [
                    {
                        "resource": names["plural"],
                        "singularResource": names.get("singular") or names["kind"].lower(),
                        "responseKind": kind,
                        "scope": Scope(spec["scope"]).value,
                        "shortNames": list(names.get("shortNames") or ()),
                        "verbs": _CRD_VERBS,
                        "subresources": [
                            {"subresource": each, "responseKind": kind, "verbs": _SUBRESOURCE_VERBS}
                            for each in version.get("subresources") or ()
                        ],
                    }
                ],
            }
            for version in spec["versions"]
            if version.get("served", True)
        ]
        return {"metadata": {"name": spec["group"]}, "versions": versions}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusableInput(f"{source}: a CustomResourceDefinition that cannot be read: {error!r}") from error
