"""Audiences that the API server would read in a protobuf body are read here too, or the body is not read at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from k8s_mcp_server.gateway.tokenrequest import read_audiences

pytestmark = pytest.mark.unit

PROTOBUF = "application/vnd.kubernetes.protobuf"
OURS = b"k8s-mcp-server"
BEYOND = 1 << 32  # what the generated decoders drop: int32(wire >> 3)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def audience(value: bytes) -> bytes:
    return field(1, value)


TYPE_META = field(1, field(1, b"authentication.k8s.io/v1") + field(2, b"TokenRequest"))
OTHER = audience(b"other")


def envelope(raw: bytes, *, more: bytes = b"") -> bytes:
    return b"k8s\0" + TYPE_META + field(2, raw) + more


def read(body: bytes) -> tuple[str, ...] | None:
    return read_audiences(body, content_type=PROTOBUF)


# What may stand in a message and makes its reading uncertain, as a function of the field's number and value.
UNCERTAIN: dict[str, Callable[[int, bytes], bytes]] = {
    "a number beyond 32 bits": lambda number, value: field(number + BEYOND, value),
    "a number beyond 29 bits": lambda number, value: field(number + (1 << 29), value),
    "a number above 64 bits": lambda number, value: (
        varint(number << 3 | 2 | 1 << 64) + varint(len(value)) + value
    ),
    "a tag of more bytes than it needs": lambda number, value: (
        bytes([number << 3 | 2 | 0x80, 0]) + varint(len(value)) + value
    ),
    "a tag of eleven bytes": lambda number, value: (
        bytes([number << 3 | 2 | 0x80]) + b"\x80" * 9 + b"\0" + varint(len(value)) + value
    ),
    "a length of more bytes than it needs": lambda number, value: (
        bytes([number << 3 | 2, len(value) | 0x80, 0]) + value
    ),
    "a length above 64 bits": lambda number, value: (
        bytes([number << 3 | 2]) + varint(len(value) | 1 << 64) + value
    ),
    "a length that is negative in 64 bits": lambda number, value: (
        bytes([number << 3 | 2]) + varint((1 << 64) - 1) + value
    ),
    "a length above 32 bits": lambda number, value: bytes([number << 3 | 2]) + varint(len(value) | BEYOND) + value,
    "a length beyond the end": lambda number, value: bytes([number << 3 | 2]) + varint(len(value) + 100) + value,
    "field zero": lambda _, value: field(0, value),
    "a group of that number": lambda number, value: (
        varint(number << 3 | 3) + audience(value) + varint(number << 3 | 4)
    ),
    "a group of another number": lambda _, value: varint(9 << 3 | 3) + audience(value) + varint(9 << 3 | 4),
    "the end of a group": lambda number, _: varint(number << 3 | 4),
    "an unknown wire type": lambda _, value: varint(9 << 3 | 6) + value,
    "another wire type": lambda number, _: varint(number << 3) + b"\1",
    "an unfinished tag": lambda _, __: b"\x8a",
}  # fmt: skip


@pytest.mark.parametrize("uncertain", UNCERTAIN.values(), ids=UNCERTAIN.keys())
@pytest.mark.parametrize("beside", [field(7, b"x"), b""], ids=["beside", "alone"])
@pytest.mark.parametrize("level", ["envelope", "spec", "audiences"])
def test_what_the_api_server_may_read_otherwise_is_not_read(
    uncertain: Callable[[int, bytes], bytes], level: str, beside: bytes
) -> None:
    if level == "envelope":
        body = envelope(field(2, OTHER) if beside else b"", more=uncertain(2, field(2, audience(OURS))))
    elif level == "spec":
        body = envelope(beside + field(2, OTHER) + uncertain(2, audience(OURS)))
    else:
        body = envelope(field(2, OTHER + beside + uncertain(1, OURS)))
    assert read(body) is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(envelope(field(2, OTHER), more=field(2, field(2, audience(OURS)))), id="two objects"),
        pytest.param(b"k8s\0" + TYPE_META, id="no object"),
        pytest.param(envelope(field(2, OTHER), more=field(3, b"gzip")), id="a compressed object"),
        pytest.param(envelope(field(2, OTHER), more=field(4, b"application/json")), id="an object that is JSON"),
        pytest.param(envelope(field(2, OTHER), more=field(5, b"x")), id="an unknown field of the envelope"),
        pytest.param(envelope(field(2, OTHER), more=varint(3 << 3) + b"\0"), id="a number in the envelope"),
        pytest.param(envelope(field(2, audience(b"k8s-mcp-server\xff"))), id="an audience that is not UTF-8"),
        pytest.param(b"k8s", id="half of a prefix"),
    ],
)
def test_an_uncertain_envelope_or_text_is_not_read(body: bytes) -> None:
    assert read(body) is None


@pytest.mark.parametrize(
    ("body", "audiences"),
    [
        pytest.param(envelope(field(2, OTHER), more=b"\x1a\0\x22\0"), ("other",), id="as client-go writes it"),
        pytest.param(envelope(field(2, OTHER), more=field(4, PROTOBUF.encode())), ("other",), id="with a content type"),
        pytest.param(b"k8s\0" + field(2, field(2, OTHER)) + TYPE_META, ("other",), id="in another order"),
        pytest.param(
            envelope(field(2, OTHER) + field(2, audience(OURS))), ("other", OURS.decode()), id="a merged spec"
        ),
        pytest.param(
            envelope(field(2, OTHER + field(3, b"") + audience(OURS))), ("other", OURS.decode()), id="apart in a spec"
        ),
        pytest.param(
            envelope(field(2, OTHER + varint(4 << 3) + varint((1 << 64) - 1))), ("other",), id="a negative expiration"
        ),
        pytest.param(
            envelope(field(2, OTHER) + varint(7 << 3 | 1) + b"x" * 8 + varint(8 << 3 | 5) + b"x" * 4 + field(9, b"x")),
            ("other",),
            id="fields of a later version",
        ),
        pytest.param(envelope(field((1 << 29) - 1, b"") + field(2, OTHER)), ("other",), id="the last number"),
        pytest.param(envelope(b""), (), id="an empty object"),
    ],
)
def test_every_occurrence_of_an_audience_is_read(body: bytes, audiences: tuple[str, ...]) -> None:
    assert read(body) == audiences
