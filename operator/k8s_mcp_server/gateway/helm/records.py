"""A release as Helm stores it: read strictly, written anew, and cut to what is no content.

Ported: ``makeKey`` of helm.sh/helm/v4/pkg/storage/storage.go (the name), ``encodeRelease`` and ``decodeRelease`` of
pkg/storage/driver/util.go (base64 of gzip of JSON), the fields of pkg/release/v1/{release,info,hook}.go and
pkg/chart/v2/metadata.go, and ``validName`` of pkg/chart/v2/util/validate_name.go; v4.3.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

RELEASE_TYPE: Final = "helm.sh/release.v1"
LARGEST_RECORD: Final = 16 * 1024 * 1024  # unpacked; what a Secret holds of it is at most 1 MiB
# A few kilobytes unpack to millions of fields and hooks, and reading each of them would hold everybody else up.
MOST_FIELDS: Final = 256
LONGEST_METADATA: Final = 4 * 1024  # of one field
LARGEST_HOOKS: Final = 256 * 1024  # of all of them, beyond which none is told of
_PREFIX: Final = "sh.helm.release.v1."
_LONGEST_RELEASE: Final = 53
_PART: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_RELEASE: Final = re.compile(rf"{_PART}(?:\.{_PART})*")
_KEY: Final = re.compile(rf"{re.escape(_PREFIX)}(?P<release>.+)\.v(?P<revision>[1-9][0-9]{{0,8}})")
_MAGIC: Final = b"\x1f\x8b\x08"
_GZIP: Final = 16 + zlib.MAX_WBITS
_BEST: Final = 9

# What of a record is metadata. Not among it: notes and the text of failures, which quote values and manifests.
_FIELDS: Final[Sequence[str]] = ("name", "version", "namespace", "apply_method")
_INFO_FIELDS: Final[Sequence[str]] = ("first_deployed", "last_deployed", "deleted", "status", "rollback_revision")
_CHART_FIELDS: Final = ("name", "version", "appVersion", "apiVersion", "kubeVersion", "type", "deprecated")
_HOOK_FIELDS: Final = ("name", "kind", "events", "last_run")
_OWN_DESCRIPTIONS: Final = re.compile(
    r"Install complete|Upgrade complete|Rollback to [0-9]+|Uninstallation complete|Initial install underway|"
    r"Preparing upgrade|Deletion in progress \(or silently failed\)|[Ss]uperseded by new release"
)
_WITHHELD: Final = "(not shown: it needs the right to releases/content)"
_PENDING: Final = "pending-"

Raw = msgspec.Raw
T = TypeVar("T")


class UnreadableRecord(ValueError):
    """The bytes are no record of a release; the text says why."""


class _FieldName(str):
    """The name of a field, counted while it is read."""

    __slots__ = ()


class _FieldCounter:
    """Ends the reading of an object with too many fields at the first that is too many."""

    def __init__(self) -> None:
        self._left = MOST_FIELDS

    def __call__(self, kind: type[_FieldName], name: str) -> _FieldName:
        self._left -= 1
        if self._left < 0:
            raise ValueError("too many fields")
        return kind(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseKey:
    """Which revision of which release; also the name of the Secret that holds it."""

    release: str
    revision: int

    @classmethod
    def of(cls, secret: str) -> ReleaseKey | None:
        """The key that a Secret's name says, or None when it is no name of Helm's."""
        match = _KEY.fullmatch(secret)
        if match is None or not is_release_name(match["release"]):
            return None
        return cls(release=match["release"], revision=int(match["revision"]))

    @property
    def secret(self) -> str:
        """The Secret's name."""
        return f"{_PREFIX}{self.release}.v{self.revision}"


def is_release_name(name: str) -> bool:
    """Whether Helm takes this for a release's name."""
    return len(name) <= _LONGEST_RELEASE and _RELEASE.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One revision of a release: its fields and those of ``info`` by name, none twice, also not in another case."""

    fields: dict[str, Raw]
    info: dict[str, Raw]

    @property
    def key(self) -> ReleaseKey:
        """The release's name and revision."""
        revision = _read(self.fields.get("version", Raw(b"0")), int)
        return ReleaseKey(release=_text(self.fields, "name"), revision=revision)

    @property
    def namespace(self) -> str:
        """The release's namespace."""
        return _text(self.fields, "namespace")

    @property
    def status(self) -> str:
        """Such as ``deployed`` or ``pending-install``."""
        return _text(self.info, "status")

    @property
    def is_pending(self) -> bool:
        """Whether an operation says that it is under way; until that changes, Helm refuses any other."""
        return self.status.startswith(_PENDING)

    def metadata(self) -> Record:
        """Without values, manifests, templates, notes, and whatever else quotes them."""
        info = _some(self.info, _INFO_FIELDS)
        info["description"] = _encoded(_description(_text(self.info, "description")))
        fields = _some(self.fields, _FIELDS)
        chart = _objects(_objects(self.fields.get("chart")).get("metadata"))
        fields["chart"] = _encoded({"metadata": _some(chart, _CHART_FIELDS)})
        hooks = (_objects(hook) for hook in _list(self.fields.get("hooks"), longest=LARGEST_HOOKS))
        fields["hooks"] = _encoded([_some(hook, _HOOK_FIELDS) for hook in hooks if _is_test(hook)])
        return Record(fields=fields, info=info)

    def failed(self, description: str) -> Record:
        """The same, with the status ``failed``."""
        info = {**self.info, "status": _encoded("failed"), "description": _encoded(description)}
        return Record(fields=self.fields, info=info)

    def encode(self) -> bytes:
        """As Helm stores it: what the Secret's ``data.release`` is, before the API's own base64."""
        document = msgspec.json.encode({**self.fields, "info": self.info})
        return base64.b64encode(gzip.compress(document, _BEST, mtime=0))


def read_record(data: bytes) -> Record:
    """Read the value of ``data.release``, after the API's own base64.

    Raises:
        UnreadableRecord: it is not a record that Helm would write, or is too large.
    """
    try:
        packed = binascii.a2b_base64(data, strict_mode=True)
        document = _unpacked(packed) if packed.startswith(_MAGIC) else packed
    except (binascii.Error, zlib.error) as error:
        raise UnreadableRecord(f"it cannot be unpacked ({error})") from error
    fields = _objects(Raw(document))
    record = Record(fields=fields, info=_objects(fields.get("info")))
    if record.key.revision < 1 or not is_release_name(record.key.release) or not record.status:
        raise UnreadableRecord("its name, version or status is not that of a release")
    return record


def _unpacked(packed: bytes) -> bytes:
    inflater = zlib.decompressobj(_GZIP)
    document = inflater.decompress(packed, LARGEST_RECORD)
    if not inflater.eof or inflater.unused_data:
        raise UnreadableRecord("it is incomplete, too large, or has something behind it")
    return document


def _objects(value: Raw | None) -> dict[str, Raw]:
    if value is None or value == b"null":
        return {}
    try:
        read = msgspec.json.decode(value, type=dict[_FieldName, Raw], dec_hook=_FieldCounter())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableRecord("it is no JSON object where one is expected, or a very large one") from error
    fields = {str(name): content for name, content in read.items()}
    if len({name.casefold() for name in fields}) != len(fields):  # Go takes them for one (encoding/json)
        raise UnreadableRecord("it has a field twice")
    return fields


def _list(value: Raw | None, *, longest: int) -> list[Raw]:
    """The elements; none where there are more bytes than are read."""
    if value is None or value == b"null" or len(bytes(value)) > longest:
        return []
    return _read(value, list[Raw])


def _some(fields: dict[str, Raw], names: Sequence[str]) -> dict[str, Raw]:
    """Those of the fields that have one of the names, and the length of metadata."""
    return {name: fields[name] for name in names if name in fields and len(bytes(fields[name])) <= LONGEST_METADATA}


def _text(fields: dict[str, Raw], name: str) -> str:
    return _read(fields[name], str) if name in fields else ""


def _read(value: Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableRecord("a field is of an unexpected type") from error


def _encoded(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def _description(text: str) -> str:
    return text if not text or _OWN_DESCRIPTIONS.fullmatch(text) else _WITHHELD


def _is_test(hook: dict[str, Raw]) -> bool:
    return Raw(b'"test"') in _list(hook.get("events"), longest=LONGEST_METADATA)
