"""The questions and answers of self-reviews as they are on the wire.

Source of the shapes: k8s.io/api/authorization/v1 and k8s.io/api/authentication/v1 (types.go, generated.proto). A
question's selectors are not read: without them it asks for more, so no answer is a yes too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from k8s_mcp_server.gateway import protobuf
from k8s_mcp_server.gateway.status import Refusal, Refused

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.head import Headers

_JSON: Final = "application/json"
_PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_ANY: Final = frozenset({_JSON, "application/*", "*/*"})
_SPEC: Final = 2


class ResourceAttributes(msgspec.Struct, frozen=True, omit_defaults=True):
    """An action on a resource, in the order of the protobuf fields."""

    namespace: str = ""
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""


class NonResourceAttributes(msgspec.Struct, frozen=True, omit_defaults=True):
    """An action on a path, in the order of the protobuf fields."""

    path: str = ""
    verb: str = ""


class AccessSpec(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """``SelfSubjectAccessReviewSpec``: exactly one of the two, which the API server checks."""

    resource_attributes: ResourceAttributes | None = None
    non_resource_attributes: NonResourceAttributes | None = None

    @classmethod
    def from_protobuf(cls, message: bytes) -> AccessSpec:
        """Read the message. Raises: Unreadable."""
        resource, path = _only(message, 1), _only(message, 2)
        return cls(
            resource_attributes=None if resource is None else ResourceAttributes(*_strings(resource, 7)),
            non_resource_attributes=None if path is None else NonResourceAttributes(*_strings(path, 2)),
        )


class RulesSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """``SelfSubjectRulesReviewSpec``."""

    namespace: str = ""

    @classmethod
    def from_protobuf(cls, message: bytes) -> RulesSpec:
        """Read the message. Raises: Unreadable."""
        return cls(*_strings(message, 1))


class AccessStatus(msgspec.Struct, frozen=True, rename="camel"):
    """``SubjectAccessReviewStatus``; ``denied`` is left out, for more than one authorizer has spoken."""

    allowed: bool = False
    reason: str = ""
    evaluation_error: str = ""


class ResourceRule(msgspec.Struct, frozen=True, rename="camel"):
    """``ResourceRule``: RBAC's fields."""

    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()


class NonResourceRule(msgspec.Struct, frozen=True):
    """``NonResourceRule``."""

    verbs: tuple[str, ...] = ()
    urls: tuple[str, ...] = msgspec.field(default=(), name="nonResourceURLs")


class RulesStatus(msgspec.Struct, frozen=True, rename="camel"):
    """``SubjectRulesReviewStatus``."""

    resource_rules: tuple[ResourceRule, ...] | None = ()
    non_resource_rules: tuple[NonResourceRule, ...] | None = ()
    incomplete: bool = False
    evaluation_error: str = ""


Spec = TypeVar("Spec", AccessSpec, RulesSpec)
Status = TypeVar("Status", AccessStatus, RulesStatus)


class _Document(msgspec.Struct):
    kind: str = ""
    spec: msgspec.Raw = msgspec.Raw(b"{}")


class _Answer(msgspec.Struct):
    status: msgspec.Raw


class _Message(msgspec.Struct):
    message: str


_DOCUMENT: Final = msgspec.json.Decoder(_Document)
_ANSWER: Final = msgspec.json.Decoder(_Answer)
_MESSAGE: Final = msgspec.json.Decoder(_Message)


def accepts_json(headers: Headers) -> bool:
    """Whether the client takes an answer in plain JSON."""
    ranges = [item.strip().lower() for value in headers.all("accept") for item in value.split(",")]
    return not ranges or any(
        media_type.strip() in _ANY and "as=" not in parameters
        for media_type, _, parameters in (item.partition(";") for item in ranges)
    )


def read_spec(body: bytes, *, content_type: str, kind: str, spec_type: type[Spec]) -> Spec:
    """What is asked.

    Args:
        body: complete, JSON or protobuf.
        content_type: of the body; the API server takes none for JSON.
        kind: of the review that the URL names.
        spec_type: its specification.

    Raises:
        Refused: it is in another encoding, unreadable or of another kind.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        if media_type in {"", _JSON}:
            document = _DOCUMENT.decode(body)
            found, spec = document.kind, msgspec.json.decode(document.spec, type=spec_type)
        elif media_type == _PROTOBUF:
            found, spec = protobuf.kind(body), spec_type.from_protobuf(_spec_of(protobuf.unwrap(body)))
        else:
            raise Refused(Refusal(code=415, message="A review about oneself is sent as JSON or protobuf."))
    except (protobuf.Unreadable, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(Refusal(code=400, message=f"The {kind} cannot be read.")) from error
    if found not in {"", kind}:
        raise Refused(Refusal(code=400, message=f"The body is no {kind}."))
    return spec


def _spec_of(message: bytes) -> bytes:
    return _only(message, _SPEC) or b""


def _only(message: bytes, field: int) -> bytes | None:
    values = list(protobuf.messages(message, field))
    if len(values) > 1:
        raise protobuf.Unreadable("a message occurs twice")
    return values[0] if values else None


def _strings(message: bytes, count: int) -> list[str]:
    """The first ``count`` fields, all of them strings; the last occurrence counts, as in every protobuf reader."""
    return [[b"", *protobuf.messages(message, field)][-1].decode() for field in range(1, count + 1)]


def write_question(kind: str, spec: AccessSpec | RulesSpec) -> bytes:
    """The review as the API server is asked it."""
    return msgspec.json.encode({"kind": kind, "apiVersion": "authorization.k8s.io/v1", "spec": spec})


def read_status(body: bytes, status_type: type[Status]) -> Status:
    """The API server's answer.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return msgspec.json.decode(_ANSWER.decode(body).status, type=status_type)


def read_message(body: bytes) -> str:
    """What a ``Status`` says."""
    try:
        return _MESSAGE.decode(body).message
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "The API server refuses the review."


def write_answer(kind: str, spec: AccessSpec | RulesSpec, status: AccessStatus | RulesStatus) -> bytes:
    """The answered review as JSON."""
    return msgspec.json.encode(
        {"kind": kind, "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": spec, "status": status}
    )


def write_identity(username: str, groups: frozenset[str]) -> bytes:
    """The answered ``SelfSubjectReview`` as JSON."""
    user = {"username": username, "groups": sorted(groups)} if groups else {"username": username}
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}}
    return msgspec.json.encode({**review, "status": {"userInfo": user}})
