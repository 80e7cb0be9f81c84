"""From an ``McpAccessPolicy`` object to a value that decisions read; what cannot be read is a value, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from k8s_mcp_server.policy.egress import Egress
from k8s_mcp_server.policy.limits import StatedLimits
from k8s_mcp_server.policy.model import LimitsModel, SpecModel, SubjectModel
from k8s_mcp_server.policy.quantity import parse_bytes, parse_duration
from k8s_mcp_server.policy.rules import Rule, compile_rule
from k8s_mcp_server.policy.subjects import Subject, SubjectKind
from k8s_mcp_server.policy.tools import Tool

API_VERSION = "k8s-mcp.io/v1alpha1"
M = TypeVar("M", bound=BaseModel)

_MAX_ERRORS = 8
_MAX_ERROR_LENGTH = 256


class PolicyState(StrEnum):
    """What becomes of a policy's rules now; denies and ``block`` hold in every state."""

    ACTIVE = "Active"
    SUSPENDED = "Suspended"
    EXPIRED = "Expired"
    INVALID = "Invalid"


class Mode(StrEnum):
    """What a policy does with what its rules allow, and with what they do not."""

    ENFORCE = "Enforce"
    DRY_RUN = "DryRun"
    AUDIT = "Audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPolicy:
    """A valid policy.

    Args:
        uid, resource_version, generation: the version of the object that this was read from.
        expires_at: aware; from then on the rules give nothing. None when the policy does not expire.
        follows_roles: a rule gives what a role gives.
        missing_roles: once roles were looked up, the rules whose role there is not: (rule, role).
    """

    name: str
    uid: str
    resource_version: str
    generation: int
    subjects: tuple[Subject, ...]
    tools: frozenset[Tool]
    rules: tuple[Rule, ...] = ()
    denies: tuple[Rule, ...] = ()
    description: str = ""
    mode: Mode = Mode.ENFORCE
    suspend: bool = False
    block: bool = False
    expires_at: datetime | None = None
    reason: str = ""
    default_namespace: str = ""
    limits: StatedLimits = field(default_factory=StatedLimits)
    egress: Egress = field(default_factory=Egress)
    follows_roles: bool = False
    missing_roles: tuple[tuple[str, str], ...] = ()

    def state(self, *, now: datetime) -> PolicyState:
        """Whether the rules give anything at ``now`` (aware)."""
        if self.suspend:
            return PolicyState.SUSPENDED
        if self.expires_at is not None and now >= self.expires_at:
            return PolicyState.EXPIRED
        return PolicyState.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidPolicy:
    """A policy that gives nothing, with what of it can be read.

    Args:
        errors: what is wrong, for its author; never shown to clients.
        subjects: those that can be read, and those that `carry_denies` kept.
        subjects_readable: every subject could be read.
        spec_readable: the spec is one that this server knows the fields of.
        has_deny: it states denies, readable or not.
        block: it may state ``block``.
        last_valid: the version that was in force before, kept by `carry_denies`.
        denies: those of ``last_valid``, in force only while the subjects cannot be read.
    """

    name: str
    uid: str
    resource_version: str
    generation: int
    errors: tuple[str, ...]
    subjects: tuple[Subject, ...] = ()
    subjects_readable: bool = False
    spec_readable: bool = False
    has_deny: bool = False
    block: bool = False
    last_valid: CompiledPolicy | None = None
    denies: tuple[Rule, ...] = ()
    description: str = ""
    limits: StatedLimits = field(default_factory=StatedLimits)

    @property
    def refuses_everything(self) -> bool:
        """Whether the clients it names are refused until it is mended: it may hold a deny that cannot be read."""
        return self.has_deny or self.block or not self.spec_readable

    def state(self, *, now: datetime) -> PolicyState:
        """Always invalid."""
        return PolicyState.INVALID


Policy: TypeAlias = CompiledPolicy | InvalidPolicy


def read_policy(body: Mapping[str, Any]) -> Policy:
    """Read an object as the API server returned it. Never raises: what cannot be read is an `InvalidPolicy`."""
    metadata = _mapping(body.get("metadata"))
    spec = body.get("spec")
    version = body.get("apiVersion", API_VERSION)
    if version != API_VERSION:
        return _invalid(metadata, None, errors=(f"apiVersion is not {API_VERSION}",))
    try:
        model = SpecModel.model_validate(spec)
        return _compile(model, metadata)
    except ValidationError as error:
        return _invalid(metadata, spec, errors=_messages(error))
    except (ValueError, OverflowError) as error:
        return _invalid(metadata, spec, errors=(str(error)[:_MAX_ERROR_LENGTH],))


def carry_denies(previous: Policy | None, current: Policy) -> Policy:
    """Keep what an invalid policy's last valid version forbade, until it is mended.

    Its last limits stay. Where the new version does not say whom it names, the last subjects and denies stay as well.

    Args:
        previous: what was in force for the same object; None at the first sight.
        current: as just read.
    """
    if previous is None or isinstance(current, CompiledPolicy) or previous.uid != current.uid:
        return current
    last = previous if isinstance(previous, CompiledPolicy) else previous.last_valid
    if last is None:
        return current
    kept = replace(current, last_valid=last, limits=last.limits)
    if current.subjects_readable:
        return kept
    subjects = tuple(dict.fromkeys((*current.subjects, *last.subjects)))
    return replace(kept, subjects=subjects, denies=last.denies)


def _compile(model: SpecModel, metadata: Mapping[str, Any]) -> CompiledPolicy:
    return CompiledPolicy(
        name=_text(metadata, "name"),
        uid=_text(metadata, "uid"),
        resource_version=_text(metadata, "resourceVersion"),
        generation=_generation(metadata),
        subjects=tuple(map(_compile_subject, model.subjects)),
        tools=frozenset(map(Tool, model.tools)),
        rules=tuple(compile_rule(item, place=f"rules[{i}]") for i, item in enumerate(model.rules)),
        denies=tuple(compile_rule(item, place=f"deny[{i}]") for i, item in enumerate(model.deny)),
        description=model.description,
        mode=Mode(model.mode),
        suspend=model.suspend,
        block=model.block,
        expires_at=_expiry(model, metadata),
        reason=model.reason,
        default_namespace=model.default_namespace or "",
        limits=_compile_limits(model.limits),
        egress=Egress.of(model.charts, model.egress),
        follows_roles=any(item.role_ref is not None for item in model.rules),
    )


def _compile_subject(model: SubjectModel) -> Subject:
    return Subject(kind=SubjectKind(model.kind), name=model.name, namespace=model.namespace or "")


def _compile_limits(model: LimitsModel) -> StatedLimits:
    memory = None if model.memory_bytes is None else parse_bytes(model.memory_bytes)
    return StatedLimits(**{**model.model_dump(), "memory_bytes": memory})


def _expiry(model: SpecModel, metadata: Mapping[str, Any]) -> datetime | None:
    if model.expires_at is not None:
        return datetime.fromisoformat(model.expires_at)
    if model.expires_after is None:
        return None
    created = datetime.fromisoformat(_text(metadata, "creationTimestamp"))
    if created.tzinfo is None:
        raise ValueError("metadata.creationTimestamp has no time zone")
    return created + parse_duration(model.expires_after)


def _invalid(metadata: Mapping[str, Any], spec: object, *, errors: tuple[str, ...]) -> InvalidPolicy:
    fields = _mapping(spec)
    listed = fields.get("subjects")
    entries = listed if isinstance(listed, list) else []
    subjects = [found for entry in entries if (found := _read(SubjectModel, entry)) is not None]
    return InvalidPolicy(
        name=_text(metadata, "name"),
        uid=_text(metadata, "uid"),
        resource_version=_text(metadata, "resourceVersion"),
        generation=_generation(metadata),
        errors=errors,
        subjects=tuple(map(_compile_subject, subjects)),
        subjects_readable=bool(entries) and len(subjects) == len(entries),
        spec_readable=isinstance(spec, Mapping) and _known_fields().issuperset(fields),
        has_deny=fields.get("deny") not in (None, []),
        block=fields.get("block") not in (None, False),
        description=description if isinstance(description := fields.get("description"), str) else "",
    )


def _read(model: type[M], value: object) -> M | None:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None


def _known_fields() -> frozenset[str]:
    return frozenset(field.alias or name for name, field in SpecModel.model_fields.items())


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key)
    return value if isinstance(value, str) else ""


def _generation(metadata: Mapping[str, Any]) -> int:
    value = metadata.get("generation")
    return value if isinstance(value, int) else 0


def _messages(error: ValidationError) -> tuple[str, ...]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    lines = (f"spec.{'.'.join(map(str, item['loc']))}: {_text_of(item)}".replace("spec.:", "spec:") for item in found)
    return tuple(line[:_MAX_ERROR_LENGTH] for line in lines)[:_MAX_ERRORS]


def _text_of(error: Mapping[str, Any]) -> str:
    is_unknown = error["type"] == "extra_forbidden"
    return "this version of the server knows no such field" if is_unknown else str(error["msg"])
