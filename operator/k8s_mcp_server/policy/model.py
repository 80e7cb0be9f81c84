"""The reader of an ``McpAccessPolicy``: what ``crds/`` declares, as pydantic models.

The CRD is the source of the schema; a test compares it with these models field by field. The API server has already
checked an object against the CRD when we read it. It is checked again because the CRD may be older or newer than this
server, and what is not understood must not grant. Nothing here has a meaning yet: `compile` gives it one.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from k8s_mcp_server.policy.quantity import parse_bytes, parse_duration
from k8s_mcp_server.policy.virtual import ARGOCD_GROUP

READING_VERBS = frozenset({"get", "list", "watch"})
RESERVED_SUBJECTS = frozenset({"system:authenticated", "system:unauthenticated", "system:masters"})
LONGEST_AUDIT = timedelta(days=30)
MEMORY_BOUNDS = (64 * 2**20, 16 * 2**30)

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
NAMESPACE_PATTERN = r"^[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?$"
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
API_GROUP = r"^([*]|[a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"
RESOURCE = r"^([*]|[a-z0-9]([-a-z0-9.]*[a-z0-9])?)(/([*]|[a-z0-9]([-a-z0-9.]*[a-z0-9])?))?$"
ROLE_NAME = r"^[^/%\x00-\x20\x7f]+$"
RESOURCE_NAME = r"^[^%\x00-\x20\x7f]+$"
VERB = r"^([*]|[a-z]+|(action|update|delete)/[-A-Za-z0-9.*/]+)$"
URL = r"^/[^*?#%\x00-\x20\x7f]*[*]?$"
TEXT = r"^[^\x00-\x1f\x7f]*$"
DURATION = r"^([1-9][0-9]{0,4}(h|m|s)){1,3}$"
TIMESTAMP = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
REPOSITORY_URL = r"^(https|oci)://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[1-9][0-9]{0,4})?(/[-A-Za-z0-9._~]+)*/?$"
HOST_PORT = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?:[1-9][0-9]{0,4}$"
CIDR = r"^[0-9a-fA-F.:]{2,39}/[0-9]{1,3}$"
OBJECT_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
QUANTITY = r"^[1-9][0-9]{0,14}(Ki|Mi|Gi|k|M|G)?$"

Description = Annotated[str, Field(max_length=512, pattern=TEXT)]
RuleName = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
NamespaceName = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
NamespacePattern = Annotated[str, Field(min_length=1, max_length=63, pattern=NAMESPACE_PATTERN)]
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]
LabelKey = Annotated[str, Field(min_length=1, max_length=317, pattern=LABEL_KEY)]
ApiGroup = Annotated[str, Field(max_length=253, pattern=API_GROUP)]
ResourcePattern = Annotated[str, Field(min_length=1, max_length=253, pattern=RESOURCE)]
RoleName = Annotated[str, Field(min_length=1, max_length=253, pattern=ROLE_NAME)]
ResourceName = Annotated[str, Field(min_length=1, max_length=253, pattern=RESOURCE_NAME)]
Verb = Annotated[str, Field(min_length=1, max_length=253, pattern=VERB)]
UrlPattern = Annotated[str, Field(min_length=1, max_length=256, pattern=URL)]
UrlPatterns = Annotated[tuple[UrlPattern, ...], Field(strict=False, min_length=1, max_length=64)]
SubjectName = Annotated[str, Field(min_length=1, max_length=256, pattern=TEXT)]
GroupPrefix = Annotated[str, Field(min_length=1, max_length=256, pattern=TEXT)]
ToolName = Literal["kubectl", "helm", "istioctl", "argocd"]
RepositoryUrl = Annotated[str, Field(max_length=512, pattern=REPOSITORY_URL)]
HostPort = Annotated[str, Field(max_length=259, pattern=HOST_PORT)]
Cidr = Annotated[str, Field(max_length=43, pattern=CIDR)]
SecretName = Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME)]
Quantity = Annotated[str, Field(max_length=20, pattern=QUANTITY)]


class _Strict(BaseModel):
    """Nothing is coerced, nothing unknown is accepted, nothing changes after reading."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
    )


class SubjectModel(_Strict):
    """One way to name a client."""

    kind: Literal["User", "Group", "ServiceAccount"]
    name: SubjectName
    namespace: NamespaceName | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.kind == "ServiceAccount") != (self.namespace is not None):
            raise ValueError("a ServiceAccount needs a namespace; a User or Group has none")
        if self.kind == "ServiceAccount" and not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", self.name):
            raise ValueError("a ServiceAccount is named exactly")
        if not re.fullmatch(r"[^*]+[*]?", self.name):
            raise ValueError("a name may end in *, after at least one other character; * is allowed nowhere else")
        if self.name in RESERVED_SUBJECTS:
            raise ValueError(f"{self.name} is no subject: it would name everybody")
        return self


class SelectorRequirement(_Strict):
    """One expression of a label selector, as in Kubernetes."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Annotated[tuple[LabelValue, ...], Field(strict=False, max_length=64)] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.operator in {"In", "NotIn"}) != bool(self.values):
            raise ValueError("values are needed for In and NotIn, and not allowed for Exists and DoesNotExist")
        return self


class MatchSubjectModel(_Strict):
    """Namespaces whose label names a team of the client."""

    label: LabelKey
    group_prefix: GroupPrefix | None = None


class NamespaceSelectorModel(_Strict):
    """Labels of namespaces; every term must hold, and there is at least one."""

    match_labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1, max_length=16)] | None = None
    match_expressions: (
        Annotated[tuple[SelectorRequirement, ...], Field(strict=False, min_length=1, max_length=16)] | None
    ) = None
    match_subject: MatchSubjectModel | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.match_labels is None and self.match_expressions is None and self.match_subject is None:
            raise ValueError("an empty namespaceSelector selects nothing: state at least one term")
        return self


Verbs = Annotated[tuple[Verb, ...], Field(strict=False, min_length=1, max_length=32)]


class RoleRefModel(_Strict):
    """A role whose rules are followed."""

    kind: Literal["ClusterRole"]
    name: RoleName


class ScopedModel(_Strict):
    """What rules and denies share: one scope, and the resources they are about."""

    name: RuleName | None = None
    namespaces: Annotated[tuple[NamespacePattern, ...], Field(strict=False, min_length=1, max_length=128)] | None = None
    namespace_selector: NamespaceSelectorModel | None = None
    cluster_scoped: Literal[True] | None = None
    non_resource_urls: UrlPatterns | None = Field(default=None, alias="nonResourceURLs")
    api_groups: Annotated[tuple[ApiGroup, ...], Field(strict=False, min_length=1, max_length=64)] | None = None
    resources: Annotated[tuple[ResourcePattern, ...], Field(strict=False, min_length=1, max_length=128)] | None = None
    resource_names: Annotated[tuple[ResourceName, ...], Field(strict=False, max_length=128)] | None = None

    @model_validator(mode="after")
    def _check_scope(self) -> Self:
        scopes = (self.namespaces, self.namespace_selector, self.cluster_scoped, self.non_resource_urls)
        if sum(scope is not None for scope in scopes) != 1:
            raise ValueError("state exactly one of namespaces, namespaceSelector, clusterScoped, nonResourceURLs")
        about_resources = (self.api_groups, self.resources, self.resource_names)
        if self.non_resource_urls is not None and any(item is not None for item in about_resources):
            raise ValueError("nonResourceURLs goes with verbs only: no apiGroups, resources or resourceNames")
        return self

    @property
    def about_argocd(self) -> bool:
        """Whether it is about Argo CD's own resources, and nothing else."""
        return self.api_groups == (ARGOCD_GROUP,)

    @property
    def has_resources(self) -> bool:
        """Whether it says which resources it is about."""
        return self.api_groups is not None and self.resources is not None


class DenyRuleModel(ScopedModel):
    """A rule that denies."""

    verbs: Verbs

    @model_validator(mode="after")
    def _check_words(self) -> Self:
        _check_words(self, self.verbs)
        return self

    @model_validator(mode="after")
    def _check_resources(self) -> Self:
        if self.non_resource_urls is None and not self.has_resources:
            raise ValueError("apiGroups and resources are needed, unless the rule is about nonResourceURLs")
        return self


class RuleModel(ScopedModel):
    """A rule that allows."""

    verbs: Verbs | None = None
    role_ref: RoleRefModel | None = None
    from_rbac: Literal[True] | None = Field(default=None, alias="fromRBAC")
    allow_privileged_workloads: bool = False

    @model_validator(mode="after")
    def _check_content(self) -> Self:
        is_own = self.role_ref is None and self.from_rbac is None
        if is_own and self.verbs is None:
            raise ValueError("verbs are needed, unless the rule has a roleRef or fromRBAC")
        if is_own and self.non_resource_urls is None and not self.has_resources:
            raise ValueError(
                "apiGroups and resources are needed, unless the rule has a roleRef or fromRBAC, or is about "
                "nonResourceURLs"
            )
        if self.from_rbac is not None and self.non_resource_urls is not None:
            raise ValueError("fromRBAC is about resources: it does not go with nonResourceURLs")
        return self

    @model_validator(mode="after")
    def _check_role(self) -> Self:
        about_resources = (self.api_groups, self.resources, self.resource_names, self.verbs)
        said_by_role = (self.non_resource_urls, self.from_rbac, *about_resources)
        if self.role_ref is not None and any(item is not None for item in said_by_role):
            raise ValueError(
                "roleRef goes with namespaces, namespaceSelector or clusterScoped only: the role says what is allowed"
            )
        return self

    @model_validator(mode="after")
    def _check_words(self) -> Self:
        _check_words(self, self.verbs or ())
        return self

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        if self.api_groups and "*" in self.api_groups and not READING_VERBS.issuperset(self.verbs or ()):
            raise ValueError('apiGroups ["*"] is allowed only with the verbs get, list and watch')
        return self


def _check_words(model: ScopedModel, verbs: tuple[str, ...]) -> None:
    """What has a slash in it never matches anything elsewhere; a deny that looks like one must not be nothing."""
    if not model.about_argocd and any("/" in word for word in (*verbs, *(model.resource_names or ()))):
        raise ValueError('a name or verb with / is Argo CD\'s: it goes with apiGroups ["argocd.argoproj.io"] alone')


class LimitsModel(_Strict):
    """What one client may use."""

    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] | None = None
    output_bytes: Annotated[int, Field(ge=1000, le=300_000)] | None = None
    memory_bytes: int | Quantity | None = None
    concurrent_commands: Annotated[int, Field(ge=1, le=100)] | None = None
    commands_per_minute: Annotated[int, Field(ge=1, le=10_000)] | None = None

    @field_validator("memory_bytes")
    @classmethod
    def _check_memory(cls, value: int | str | None) -> int | str | None:
        low, high = MEMORY_BOUNDS
        if value is not None and not low <= parse_bytes(value) <= high:
            raise ValueError("memoryBytes must be between 64Mi and 16Gi")
        return value


class SecretRefModel(_Strict):
    """A Secret of the server's own namespace."""

    name: SecretName


class ChartRepositoryModel(_Strict):
    """Where charts come from."""

    name: RuleName
    url: RepositoryUrl
    secret_ref: SecretRefModel | None = None

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if not 0 < (urlsplit(value).port or 443) < 2**16:
            raise ValueError("a port is at most 65535")
        return value


class ChartsModel(_Strict):
    """Where helm's charts come from."""

    repositories: Annotated[tuple[ChartRepositoryModel, ...], Field(strict=False, max_length=32)] = ()

    @field_validator("repositories")
    @classmethod
    def _check_names(cls, value: tuple[ChartRepositoryModel, ...]) -> tuple[ChartRepositoryModel, ...]:
        if len({each.name for each in value}) != len(value):
            raise ValueError("names of repositories are used once")
        return value


class EgressModel(_Strict):
    """What helm may connect to."""

    hosts: Annotated[tuple[HostPort, ...], Field(strict=False, max_length=64)] = ()
    private_cidrs: Annotated[tuple[Cidr, ...], Field(strict=False, max_length=32)] = Field(
        default=(), alias="privateCIDRs"
    )

    @field_validator("hosts")
    @classmethod
    def _check_ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(int(each.rpartition(":")[2]) >= 2**16 for each in value):
            raise ValueError("a port is at most 65535")
        return value

    @field_validator("private_cidrs")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ip_network(each)
        return value


class SpecModel(_Strict):
    """``spec`` of an McpAccessPolicy."""

    description: Description = ""
    subjects: Annotated[tuple[SubjectModel, ...], Field(strict=False, min_length=1, max_length=64)]
    tools: Annotated[tuple[ToolName, ...], Field(strict=False, min_length=1, max_length=4)] = ("kubectl",)
    rules: Annotated[tuple[RuleModel, ...], Field(strict=False, max_length=64)] = ()
    deny: Annotated[tuple[DenyRuleModel, ...], Field(strict=False, max_length=64)] = ()
    mode: Literal["Enforce", "DryRun", "Audit"] = "Enforce"
    suspend: bool = False
    block: bool = False
    expires_at: Annotated[str, Field(max_length=35, pattern=TIMESTAMP)] | None = None
    expires_after: Annotated[str, Field(max_length=18, pattern=DURATION)] | None = None
    default_namespace: NamespaceName | None = None
    reason: Annotated[str, Field(max_length=256, pattern=TEXT)] = ""
    limits: LimitsModel = LimitsModel()
    charts: ChartsModel = ChartsModel()
    egress: EgressModel = EgressModel()

    @field_validator("expires_at", "expires_after")
    @classmethod
    def _check_time(cls, value: str | None, info: Any) -> str | None:
        if value is not None:
            (datetime.fromisoformat if info.field_name == "expires_at" else parse_duration)(value)
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.expires_at is not None and self.expires_after is not None:
            raise ValueError("state expiresAt or expiresAfter, not both")
        within = self.expires_after is not None and parse_duration(self.expires_after) <= LONGEST_AUDIT
        if self.mode == "Audit" and not within:
            raise ValueError("mode Audit needs expiresAfter of at most 720h (30 days)")
        for rules in (self.rules, self.deny):
            names = [rule.name for rule in rules if rule.name is not None]
            if len(names) != len(set(names)):
                raise ValueError("rule names are used once")
        return self
