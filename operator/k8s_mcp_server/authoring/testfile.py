"""The file of `policy test`: which policies, which namespaces, and who may do what then.

policies: [deployer.yaml]                 # files or folders, relative to this file
cluster: [roles.yaml]                     # CRDs, roles and bindings: files like these, or the objects themselves
namespaces:                               # all that there are, with their labels
  team-a: {pod-security.kubernetes.io/enforce: baseline}
cases:
- as: serviceaccount:agents/deployer      # or {user: ..., groups: [...]}
  verb: [create, delete]                  # one or several; so are resource and namespace
  resource: deployments
  namespace: team-a
  expect: allow                           # allow, deny or filtered
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from k8s_mcp_server.authoring.clients import client_named, client_of, parse_subject
from k8s_mcp_server.authoring.documents import STDIN, Document
from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.authoring.schema import path_text
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.quantity import parse_duration
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from k8s_mcp_server.policy.identity import Client

OneOrMore = str | Annotated[tuple[str, ...], Field(strict=False, min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ClientModel(_Strict):
    """Who asks, when one word does not say it."""

    user: str = ""
    groups: Annotated[tuple[str, ...], Field(strict=False)] = ()


class CaseModel(_Strict):
    """One expectation, for every combination of its verbs, resources and namespaces.

    Args:
        after: how long the policies are there by then, such as ``3h``.
        shows, hides: objects as ``namespace/name`` (``name`` alone for cluster-scoped ones) that a list holds or not.
    """

    client: str | ClientModel = Field(alias="as")
    verb: OneOrMore
    resource: OneOrMore = ()
    path: OneOrMore = ()
    namespace: OneOrMore = ("",)
    name: str = ""
    tool: Literal["kubectl", "helm", "istioctl", "argocd"] = "kubectl"
    after: str = ""
    expect: Literal["allow", "deny", "filtered"]
    reason: str = ""
    shows: Annotated[tuple[str, ...], Field(strict=False)] = ()
    hides: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.resource) == bool(self.path):
            raise ValueError("state resource, or path for what is no resource")
        if self.reason and self.reason not in set(Reason):
            raise ValueError(f"{self.reason} is no reason: {', '.join(Reason)}")
        if self.after:
            parse_duration(self.after)
        return self

    @property
    def age(self) -> timedelta:
        """How long the policies are there."""
        return parse_duration(self.after) if self.after else timedelta()

    @property
    def asker(self) -> Client:
        """The client.

        Raises:
            UnusableInput: the word names none.
        """
        if isinstance(self.client, ClientModel):
            return client_named(self.client.user, groups=self.client.groups)
        return client_of(parse_subject(self.client))

    @property
    def used_tool(self) -> Tool:
        """The CLI that asks."""
        return Tool(self.tool)


class TestFileModel(_Strict):
    """The whole file."""

    __test__ = False  # no test of pytest's, whatever its name

    policies: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    cluster: Annotated[tuple[str | dict[str, Any], ...], Field(strict=False)] = ()
    namespaces: dict[str, dict[str, str]] | Annotated[tuple[str, ...], Field(strict=False)] = ()
    resources: dict[str, Literal["Namespaced", "Cluster"]] = Field(default_factory=dict)
    cases: Annotated[tuple[CaseModel, ...], Field(strict=False, min_length=1)]

    @property
    def labels(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of each namespace."""
        return self.namespaces if isinstance(self.namespaces, dict) else {name: {} for name in self.namespaces}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestFile:
    """A test file, and where it stands.

    Args:
        sources: its policies' files, as they are found from here.
        cluster: those of the cluster.
        objects: the cluster's, as the file itself states them.
    """

    __test__ = False

    document: Document
    model: TestFileModel
    sources: tuple[str, ...]
    cluster: tuple[str, ...]
    objects: tuple[Document, ...]


def is_test_file(document: Document) -> bool:
    """Whether it is meant as one."""
    return "cases" in document.body


def read_test_file(document: Document) -> TestFile:
    """Read it.

    Raises:
        UnusableInput: it has another form; says where.
    """
    folder = Path.cwd() if document.source == STDIN else Path(document.source).parent
    try:
        model = TestFileModel.model_validate(document.body)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_context=False, include_input=False)[0]
        message = f"{path_text(first['loc'])}: {first['msg'].removeprefix('Value error, ')}"
        raise UnusableInput(f"{document.source}:{document.line(first['loc'])}: {message}") from error
    stated = model.cluster
    return TestFile(
        document=document,
        model=model,
        sources=tuple(str(folder / item) for item in model.policies),
        cluster=tuple(str(folder / item) for item in stated if isinstance(item, str)),
        objects=tuple(Document(source=document.source, body=item) for item in stated if not isinstance(item, str)),
    )
