"""Secrets that hold releases: what Helm sends, read strictly, and what the API server answers, written anew.

Sources of the shapes: Secret in k8s.io/api/core/v1 and ObjectMeta in k8s.io/apimachinery/pkg/apis/meta/v1
(generated.proto), and ``newSecretsObject`` of helm.sh/helm/v4/pkg/storage/driver/secrets.go.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from k8s_mcp_server.gateway import protobuf
from k8s_mcp_server.gateway.helm.records import RELEASE_TYPE, Record, ReleaseKey, UnreadableRecord, read_record
from k8s_mcp_server.gateway.tokenrequest import JSON, PROTOBUF, unambiguous

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DATA_KEY: Final = "release"
_OWNER: Final = "helm"
_TIME_LABELS: Final = frozenset({"createdAt", "modifiedAt"})
_SECONDS: Final = re.compile(r"[0-9]{1,12}")

# Field numbers of Secret, and of the fields of ObjectMeta that Helm sets.
_METADATA, _DATA, _TYPE = 1, 2, 3
_NAME, _NAMESPACE, _CREATED, _LABELS = 1, 3, 8, 11
_KEY, _VALUE = 1, 2


class NotARelease(ValueError):
    """What is to be written is no Secret that Helm would write; the text says why, for the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentSecret:
    """A Secret as a client sent it.

    Args:
        data: unpacked from the API's own base64.
        others: names of fields that are set and that Helm does not set.
    """

    name: str
    namespace: str
    labels: Mapping[str, str]
    type: str
    data: Mapping[str, bytes]
    others: tuple[str, ...]

    @property
    def claims_to_be_release(self) -> bool:
        """Whether its name or type is that of a release."""
        return self.type == RELEASE_TYPE or ReleaseKey.of(self.name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSecret:
    """A Secret that holds a revision of a release, and nothing else."""

    key: ReleaseKey
    namespace: str
    labels: Mapping[str, str]
    record: Record

    def body(self, *, resource_version: str = "") -> bytes:
        """The Secret as JSON, our own serialisation; with the version that it replaces, where one is to be named."""
        metadata = {"name": self.key.secret, "namespace": self.namespace, "labels": dict(self.labels)}
        if resource_version:
            metadata["resourceVersion"] = resource_version
        return _secret(metadata, _base64(self.record.encode()))


def read_sent(body: bytes, *, content_type: str) -> SentSecret | None:
    """The Secret in the body of a POST or PUT; None when it cannot be read with certainty.

    Args:
        body: complete.
        content_type: of the body; the API server takes none for JSON.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        if media_type in {"", JSON}:
            return _from_json(body)
        if media_type == PROTOBUF:
            return _from_protobuf(protobuf.unwrap(body))
    except (ValueError, RecursionError):
        return None
    return None


def read_release(secret: SentSecret, *, namespace: str, name: str = "") -> ReleaseSecret:
    """The release that a Secret holds which is to be written.

    Args:
        secret: as sent.
        namespace: of the request.
        name: of the object in the request's path; empty for a POST.

    Raises:
        NotARelease: type, name, labels or content are not those that Helm writes.
    """
    key = ReleaseKey.of(secret.name)
    if key is None or secret.type != RELEASE_TYPE or name not in ("", secret.name):
        raise NotARelease(f"its name must be sh.helm.release.v1.NAME.vREVISION, and its type {RELEASE_TYPE}")
    if secret.others or set(secret.data) != {_DATA_KEY}:
        names = ", ".join((*secret.others, *sorted(set(secret.data) - {_DATA_KEY})))[:80]
        raise NotARelease(f"it must hold its release and nothing else ({names or 'the release is missing'})")
    try:
        record = read_record(secret.data[_DATA_KEY])
        found = (record.key, record.namespace)
    except UnreadableRecord as error:
        raise NotARelease(f"its content is no release: {error}") from error
    if found != (key, namespace) or secret.namespace not in ("", namespace):
        raise NotARelease("name, revision and namespace of its content must be those of the Secret")
    _check_labels(secret.labels, key=key, status=record.status)
    return ReleaseSecret(key=key, namespace=namespace, labels=secret.labels, record=record)


def _check_labels(labels: Mapping[str, str], *, key: ReleaseKey, status: str) -> None:
    own = {"name": key.release, "owner": _OWNER, "status": status, "version": str(key.revision)}
    for name, value in own.items():
        if labels.get(name) != value:
            raise NotARelease(f"its label {name} must be {value!r}")
    for name, value in labels.items():
        if name in _TIME_LABELS and not _SECONDS.fullmatch(value):
            raise NotARelease(f"its label {name} must be a time in seconds")


def _from_json(body: bytes) -> SentSecret:
    document = _object(json.loads(body, object_pairs_hook=unambiguous))
    metadata = _object(document.pop("metadata", {}))
    data = _texts(document.pop("data", None))
    kind, version = document.pop("kind", "Secret"), document.pop("apiVersion", "v1")
    if (kind, version) != ("Secret", "v1"):
        raise ValueError("no Secret")
    return SentSecret(
        type=_text(document.pop("type", "")),
        name=_text(metadata.pop("name", "")),
        namespace=_text(metadata.pop("namespace", "")),
        labels=_texts(metadata.pop("labels", None)),
        data={name: binascii.a2b_base64(value, strict_mode=True) for name, value in data.items()},
        others=tuple(name for fields in (metadata, document) for name, value in fields.items() if value),
    )


def _from_protobuf(secret: bytes) -> SentSecret:
    metadata = b"".join(protobuf.messages(secret, _METADATA))  # occurrences of one message are merged
    return SentSecret(
        type=_last(secret, _TYPE),
        name=_last(metadata, _NAME),
        namespace=_last(metadata, _NAMESPACE),
        labels={name.decode(): value.decode() for name, value in _entries(metadata, _LABELS)},
        data={name.decode(): value for name, value in _entries(secret, _DATA)},
        others=(
            *_set_fields(secret, known={_METADATA, _DATA, _TYPE}, message="Secret"),
            *_set_fields(metadata, known={_NAME, _NAMESPACE, _CREATED, _LABELS}, message="metadata"),
        ),
    )


def _set_fields(data: bytes, *, known: set[int], message: str) -> Iterator[str]:
    """Fields beyond the known ones that hold something: generated encoders write empty strings and zeros, too."""
    for found in protobuf.fields(data):
        if found.number not in known and (found.value or found.integer):
            yield f"{message} field {found.number}"


def _last(data: bytes, field: int) -> str:
    return ([b"", *protobuf.messages(data, field)][-1]).decode()


def _entries(data: bytes, field: int) -> Iterator[tuple[bytes, bytes]]:
    for entry in protobuf.messages(data, field):
        yield [b"", *protobuf.messages(entry, _KEY)][-1], [b"", *protobuf.messages(entry, _VALUE)][-1]


def _object(value: object) -> dict[str, Any]:
    return msgspec.convert(value, dict[str, Any], strict=True)


def _text(value: object) -> str:
    return msgspec.convert(value, str, strict=True)


def _texts(value: object) -> dict[str, str]:
    return {} if value is None else {name: _text(item) for name, item in _object(value).items()}


# What the API server answers


class _Metadata(msgspec.Struct, omit_defaults=True, rename="camel"):
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    labels: dict[str, str] = {}


class _Stored(msgspec.Struct):
    metadata: _Metadata
    type: str = ""
    data: dict[str, str] = {}


_STORED: Final = msgspec.json.Decoder(_Stored)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRelease:
    """A Secret that the API server gave out, and that holds a release."""

    release: ReleaseSecret
    metadata: _Metadata
    data: str

    @property
    def uid(self) -> str:
        """The Secret's."""
        return self.metadata.uid

    @property
    def resource_version(self) -> str:
        """The Secret's."""
        return self.metadata.resource_version

    def body(self, *, whole: bool) -> bytes:
        """The Secret as JSON, made of nothing but its identity, its labels and the record, whole or its metadata."""
        data = self.data if whole else _base64(self.release.record.metadata().encode())
        return _secret(msgspec.to_builtins(self.metadata), data)


def read_stored(data: bytes) -> StoredRelease | None:
    """A Secret as the API server gave it out, if it holds a release that is what it says; else None."""
    try:
        stored = _STORED.decode(data)
        key = ReleaseKey.of(stored.metadata.name)
        if key is None or stored.type != RELEASE_TYPE:
            return None
        packed = stored.data.get(_DATA_KEY, "")
        record = read_record(binascii.a2b_base64(packed, strict_mode=True))
        if (record.key, record.namespace) != (key, stored.metadata.namespace):
            return None
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, UnreadableRecord):
        return None
    release = ReleaseSecret(key=key, namespace=stored.metadata.namespace, labels=stored.metadata.labels, record=record)
    return StoredRelease(release=release, metadata=stored.metadata, data=packed)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _secret(metadata: Mapping[str, Any], data: str) -> bytes:
    return msgspec.json.encode(
        {
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": metadata,
            "type": RELEASE_TYPE,
            "data": {_DATA_KEY: data},
        }
    )
