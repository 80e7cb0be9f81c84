"""The methods of Argo CD's API that may be called, and no others: what each needs in the words of policies.

From server/*/*.proto of argo-cd v3 and what its command line calls. What is not here is denied, whatever a later
version makes of it: tokens, sessions, credentials of repositories and clusters, and ``ServerSideDiff``, which applies
manifests of the client's own, as a dry run, with Argo CD's rights to the whole cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from k8s_mcp_server.gateway.argocd import changes, own
from k8s_mcp_server.gateway.argocd.applications import OfApplication, OfResource, Reference, action, logs, sync
from k8s_mcp_server.gateway.argocd.messages import Message, Shape, shape
from k8s_mcp_server.gateway.argocd.objects import is_name, read_application, read_project, scoped
from k8s_mcp_server.gateway.argocd.plan import Answer, Plan
from k8s_mcp_server.gateway.protobuf import Unreadable
from k8s_mcp_server.policy.request import RequestInfo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from k8s_mcp_server.gateway.argocd.asking import Asking

_FOR_EVERYBODY: Final = RequestInfo(is_resource_request=False, path="/version", verb="get")


class Method(Protocol):
    """How one method is understood."""

    @property
    def shape(self) -> Shape:
        """Of its request."""

    async def plan(self, message: Message, asking: Asking) -> Plan:
        """What a call of it needs and becomes.

        Raises:
            Denied: already known to be.
            Unreadable: it leaves open what it means.
            CallFailed: what it means could not be looked up.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A method with a plan of its own."""

    shape: Shape
    planner: Callable[[Message, Asking], Awaitable[Plan]]

    async def plan(self, message: Message, asking: Asking) -> Plan:
        """What the call needs."""
        return await self.planner(message, asking)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForEverybody:
    """What every client with a policy for argocd may read: the version and the settings that the CLI goes by."""

    shape: Shape

    async def plan(self, message: Message, asking: Asking) -> Plan:
        """Nothing more than a policy in force."""
        return Plan(required=(_FOR_EVERYBODY,), message=message.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class OfCollection:
    """A list or watch, or one object that is known only from the answer: what of it may be seen is decided there."""

    shape: Shape
    resource: str
    name_of: Callable[[bytes, Asking], str]
    answer: Answer = Answer.ITEMS

    async def plan(self, message: Message, asking: Asking) -> Plan:
        """To get some of them."""
        return Plan(
            required=(asking.request("get", self.resource),),
            message=message.encode(),
            answer=self.answer,
            name_of=lambda item: self.name_of(item, asking),
            may_take_long=self.answer is Answer.EVENTS,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OfProject:
    """A call about one project, which its request names.

    Args:
        is_whole: the request holds the project itself, in its first field.
        without: fields of the answer that nobody gets.
    """

    shape: Shape
    verb: str = "get"
    is_whole: bool = False
    upsert: int = 0
    without: tuple[int, ...] = ()

    async def plan(self, message: Message, asking: Asking) -> Plan:
        """The verb on the project."""
        name = read_project(message.data(1)) if self.is_whole else message.text(1)
        if not is_name(name):
            raise Unreadable("the project's name is no name")
        verbs = (self.verb, "update") if self.upsert and message.is_true(self.upsert) else (self.verb,)
        return Plan(
            required=tuple(asking.request(verb, "projects", name) for verb in verbs),
            message=message.encode(),
            without=self.without,
        )


def _application(data: bytes, asking: Asking) -> str:
    return asking.name_of(read_application(data))


def _project(data: bytes, asking: Asking) -> str:
    return read_project(data)


_repository, _cluster = scoped(1, 20), scoped(1, 11)
_RESOURCE = OfResource()
_QUERY: Final = shape(texts=range(1, 10), repeated={3, 8, 9})
_RESOURCES_QUERY: Final = shape(texts=range(1, 9))
_RESOURCE_QUERY: Final = shape(texts=range(1, 9))
_PROJECT_QUERY: Final = shape(texts={1})
_REPOSITORY_QUERY: Final = shape(texts={1, 3}, numbers={2})
_CLUSTER_QUERY: Final = shape(texts={1, 2, 3})


def _applications() -> dict[str, Method]:
    tree = Reference(namespace=7, project=8)
    return {
        "List": OfCollection(shape=_QUERY, resource="applications", name_of=_application),
        "Watch": OfCollection(shape=_QUERY, resource="applications", name_of=_application, answer=Answer.EVENTS),
        "Get": OfApplication(
            shape=shape(texts=range(1, 9), repeated={3, 8}),
            reference=Reference(namespace=7, project=3, also_project=8),
            may_take_long=True,  # a refresh is waited for
        ),
        "ManagedResources": OfApplication(shape=_RESOURCES_QUERY, reference=tree),
        "ResourceTree": OfApplication(shape=_RESOURCES_QUERY, reference=tree),
        "WatchResourceTree": OfApplication(shape=_RESOURCES_QUERY, reference=tree, may_take_long=True),
        "GetManifests": OfApplication(
            shape=shape(texts={1, 2, 3, 4, 6}, numbers={5, 7}, repeated={5, 6}),
            reference=Reference(namespace=3, project=4),
            may_take_long=True,
        ),
        "GetResource": OfApplication(shape=_RESOURCE_QUERY, reference=tree, more=_RESOURCE.get),
        "ListResourceActions": OfApplication(shape=_RESOURCE_QUERY, reference=tree, more=_RESOURCE.get),
        "PodLogs": OfApplication(
            shape=shape(texts={1, 2, 3, 4, 6, 9, 10, 11, 12, 13, 15, 16}, numbers={5, 7, 8, 14, 17}),
            reference=Reference(namespace=15, project=16),
            more=logs,
            may_take_long=True,
        ),
        "Sync": OfApplication(
            shape=shape(texts={1, 2, 5, 7, 8, 9, 10, 11, 12, 13, 15}, numbers={3, 4, 14}, repeated={7, 8, 9, 14, 15}),
            reference=Reference(namespace=12, project=13),
            more=sync,
            dry_run=3,
            infos=9,
            may_take_long=True,
        ),
        "Rollback": OfApplication(
            shape=shape(texts={1, 6, 7}, numbers={2, 3, 4}),
            reference=Reference(namespace=6, project=7),
            more=action("sync"),
            dry_run=3,
            may_take_long=True,
        ),
        "TerminateOperation": OfApplication(
            shape=shape(texts={1, 2, 3}), reference=Reference(namespace=2, project=3), more=action("sync")
        ),
        "Delete": OfApplication(
            shape=shape(texts={1, 3, 4, 5}, numbers={2}),
            reference=Reference(namespace=4, project=5),
            more=action("delete"),
        ),
        "PatchResource": OfApplication(
            shape=shape(texts=range(1, 11)), reference=Reference(namespace=9, project=10), more=_RESOURCE.update
        ),
        "DeleteResource": OfApplication(
            shape=shape(texts={1, 2, 3, 4, 5, 6, 9, 10}, numbers={7, 8}),
            reference=Reference(namespace=9, project=10),
            more=_RESOURCE.delete,
        ),
        "RunResourceActionV2": OfApplication(
            shape=shape(texts=range(1, 11), repeated={10}),
            reference=Reference(namespace=8, project=9),
            more=_RESOURCE.run,
            may_take_long=True,
        ),
        "Create": Planned(shape=shape(texts={1}, numbers={2, 3}), planner=changes.create),
        "Update": Planned(shape=shape(texts={1, 3}, numbers={2}), planner=changes.update),
        "UpdateSpec": Planned(shape=shape(texts={1, 2, 4, 5}, numbers={3}), planner=changes.update_spec),
        "Patch": Planned(shape=shape(texts={1, 2, 3, 5, 6}), planner=changes.patch),
    }


def _others() -> dict[str, Method]:
    return {
        "/project.ProjectService/List": OfCollection(shape=_PROJECT_QUERY, resource="projects", name_of=_project),
        "/project.ProjectService/Get": OfProject(shape=_PROJECT_QUERY),
        "/project.ProjectService/GetDetailedProject": OfProject(
            shape=_PROJECT_QUERY, without=(3, 4)
        ),  # its repositories and clusters have rights of their own
        "/project.ProjectService/Create": OfProject(
            shape=shape(texts={1}, numbers={2}), verb="create", is_whole=True, upsert=2
        ),
        "/project.ProjectService/Update": OfProject(shape=shape(texts={1}), verb="update", is_whole=True),
        "/project.ProjectService/Delete": OfProject(shape=_PROJECT_QUERY, verb="delete"),
        "/repository.RepositoryService/ListRepositories": OfCollection(
            shape=_REPOSITORY_QUERY, resource="repositories", name_of=lambda item, _: _repository(item)
        ),
        "/repository.RepositoryService/Get": OfCollection(
            shape=_REPOSITORY_QUERY,
            resource="repositories",
            name_of=lambda item, _: _repository(item),
            answer=Answer.OBJECT,
        ),
        "/cluster.ClusterService/List": OfCollection(
            shape=_CLUSTER_QUERY, resource="clusters", name_of=lambda item, _: _cluster(item)
        ),
        "/cluster.ClusterService/Get": OfCollection(
            shape=_CLUSTER_QUERY,
            resource="clusters",
            name_of=lambda item, _: _cluster(item),
            answer=Answer.OBJECT,
        ),
        "/cluster.SettingsService/Get": ForEverybody(shape=Shape()),
        "/version.VersionService/Version": ForEverybody(shape=Shape()),
        "/account.AccountService/CanI": Planned(shape=shape(texts={1, 2, 3}), planner=own.can_i),
        "/session.SessionService/GetUserInfo": Planned(shape=Shape(), planner=own.user_info),
    }


METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {f"/application.ApplicationService/{name}": method for name, method in _applications().items()} | _others()
)
"""By the path that gRPC gives each."""

NEVER: Final[Mapping[str, str]] = MappingProxyType(
    {
        "/application.ApplicationService/ServerSideDiff": (
            "it applies manifests of your own with Argo CD's rights; `argocd app diff` without --server-side-diff "
            "compares, too"
        ),
        "/application.ApplicationService/GetManifestsWithFiles": (
            "it needs local files; `argocd app manifests` renders what is in the repository"
        ),
        "/account.AccountService/CreateToken": "tokens of Argo CD are never issued through this service",
        "/project.ProjectService/CreateToken": "tokens of Argo CD are never issued through this service",
        "/session.SessionService/Create": "this service logs in to Argo CD for you",
        "/applicationset.ApplicationSetService/List": "read them with `kubectl get applicationsets.argoproj.io`",
        "/applicationset.ApplicationSetService/Get": "read them with `kubectl get applicationsets.argoproj.io`",
    }
)
"""Why some others are not there, and what is instead."""
