"""Helm's records as they are stored: what helm would not write is not read."""

from __future__ import annotations

import base64
import gzip
import json

import pytest

from k8s_mcp_server.gateway.helm.records import (
    LARGEST_RECORD,
    MOST_FIELDS,
    ReleaseKey,
    UnreadableRecord,
    read_record,
)

pytestmark = pytest.mark.unit

MANY = {f"x{number}": number for number in range(MOST_FIELDS + 1)}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param(base64.b64encode(gzip.compress(b" " * (LARGEST_RECORD + 1))), "too large", id="a bomb"),
        pytest.param(base64.b64encode(gzip.compress(b"{}") + b"x"), "behind", id="something behind it"),
        pytest.param(base64.b64encode(gzip.compress(b"{}")[:-4]), "incomplete", id="half of it"),
        pytest.param(base64.b64encode(b"[]"), "object", id="a list"),
        pytest.param(base64.b64encode(json.dumps(MANY).encode()), "large", id="very many fields"),
        pytest.param(base64.b64encode(b'{"info": ' + b"[" * 5000 + b"]" * 5000 + b"}"), "large", id="very deep"),
        pytest.param(b"!!", "unpacked", id="no base64"),
        pytest.param(base64.b64encode(b'{"name": 1, "version": 1}'), "type", id="a name that is a number"),
    ],
)
def test_a_record_that_helm_would_not_write_is_not_read(text: bytes, complaint: str) -> None:
    with pytest.raises(UnreadableRecord, match=complaint):
        read_record(text)


@pytest.mark.parametrize(
    ("secret_name", "expected"),
    [
        ("sh.helm.release.v1.web.v1", ("web", 1)),
        ("sh.helm.release.v1.web.v2.v13", ("web.v2", 13)),
        ("sh.helm.release.v1.web.v0", None),
        ("sh.helm.release.v1.web.v01", None),
        ("sh.helm.release.v1..v1", None),
        ("sh.helm.release.v1.Web.v1", None),
        ("sh.helm.release.v1." + "w" * 54 + ".v1", None),
        ("xsh.helm.release.v1.web.v1", None),
    ],
)
def test_a_secret_s_name_says_which_revision_it_holds(secret_name: str, expected: tuple[str, int] | None) -> None:
    key = ReleaseKey.of(secret_name)
    assert (key and (key.release, key.revision)) == expected
    assert key is None or key.secret == secret_name
