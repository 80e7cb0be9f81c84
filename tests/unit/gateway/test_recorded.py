"""A recorded target tells what was asked, and nothing that may be a secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_mcp_server.gateway.recorded import recorded_target

pytestmark = pytest.mark.unit

PODS = "/api/v1/namespaces/a/pods"


@pytest.mark.parametrize(
    ("raw", "recorded"),
    [
        pytest.param(PODS, PODS, id="no parameters"),
        pytest.param(f"{PODS}?", f"{PODS}?…", id="an empty query"),
        pytest.param(f"{PODS}?watch=1&limit=500", f"{PODS}?watch=1&limit=500", id="plain"),
        pytest.param(f"{PODS}/p/log?follow=true&tailLines=5", f"{PODS}/p/log?follow=true&tailLines=5", id="logs"),
        pytest.param(f"{PODS}/p?dryRun=All&force=true", f"{PODS}/p?dryRun=All&force=true", id="apply"),
        pytest.param(f"{PODS}?fieldManager=kubectl-edit", f"{PODS}?fieldManager=kubectl-edit", id="field manager"),
        pytest.param(f"{PODS}/p/exec?command=mysql&command=-pS3", f"{PODS}/p/exec?command=…&command=…", id="exec"),
        pytest.param(f"{PODS}?labelSelector=token%3DS3", f"{PODS}?labelSelector=…", id="label selector"),
        pytest.param(f"{PODS}?fieldSelector=a%3DS3&watch=1", f"{PODS}?fieldSelector=…&watch=1", id="field selector"),
        pytest.param(f"{PODS}?S3", f"{PODS}?…", id="a parameter without a value"),
        pytest.param(f"{PODS}?watch", f"{PODS}?watch", id="a known parameter without a value"),
        pytest.param(f"{PODS}?S%33=x", f"{PODS}?…", id="an odd name"),
        pytest.param(f"{PODS}?limit=a%20S3", f"{PODS}?limit=…", id="an odd value of a known parameter"),
        pytest.param(f"{PODS}?watch=0;command=S3", f"{PODS}?watch=…", id="a semicolon in a value"),
        pytest.param(f"{PODS}?%77atch=1", f"{PODS}?…", id="an escaped name"),
        pytest.param(f"{PODS}/p/proxy/login?token=S3&force=S3", f"{PODS}/p/proxy/login?token=…&force=…", id="proxy"),
        pytest.param(f"{PODS}/p/exec%3Fcommand=S3", f"{PODS}/p/exec…", id="an escaped question mark"),
        pytest.param(f"{PODS}/p/exec%253Fcommand%253DS3", f"{PODS}/p/exec…", id="an escape escaped twice"),
        pytest.param(f"{PODS}/p;command=S3", f"{PODS}/p…", id="a semicolon in the path"),
        pytest.param(f"{PODS}/p#S3", f"{PODS}/p…", id="a fragment"),
        pytest.param(f"{PODS}/command=S3", f"{PODS}/command…", id="an equals sign in the path"),
        pytest.param(f"{PODS}%2Fx", f"{PODS}%2Fx", id="an escaped slash"),
        pytest.param("https://me:S3@127.0.0.1/api", "…", id="absolute form"),
        pytest.param("S3", "…", id="nothing known"),
    ],
)  # fmt: skip
def test_a_target_is_recorded_without_what_may_be_secret(raw: str, recorded: str) -> None:
    assert recorded_target(raw) == recorded


@given(st.lists(st.sampled_from([*"/?&=;#%aA3.", "S3CRET", "watch", "command", "%3F", "%253d", "proxy"]), max_size=30))
def test_no_value_of_a_parameter_of_the_clients_own_is_recorded(parts: list[str]) -> None:
    raw = f"/api/v1?command=S3CRET{''.join(parts)}"
    assert not recorded_target(raw).startswith("/api/v1?command=S")
    assert "command=S" not in recorded_target("/" + "".join(parts) + "?" + "".join(parts))


def test_a_record_has_a_limit() -> None:
    for raw in ("/" + "a" * 5000, "/?" + "command=x&" * 1000, "/" + "a" * 5000 + ";x"):
        assert len(recorded_target(raw)) <= 513
