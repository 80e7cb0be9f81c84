"""What the policy does not allow, asked for by the real kubectl and by hand."""

from __future__ import annotations

import pytest

from tests.support.gateway_site import (
    Rig,
)
from tests.support.raw_http import RawClient, request

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(("get", "secrets"), "sensitive", id="secrets"),
        pytest.param(("get", "pods", "-n", "{other}"), "may not list pods in namespace", id="another namespace"),
        pytest.param(("get", "pods", "-n", "{own}"), "own namespace", id="our own namespace"),
        pytest.param(("get", "nodes"), "may not list nodes", id="cluster-scoped"),
        pytest.param(("delete", "pod", "web", "-n", "{other}"), "may not delete pods", id="delete elsewhere"),
        pytest.param(("get", "--raw", "/api/v1/namespaces/{other}/pods"), "may not list pods", id="raw"),
        pytest.param(("get", "--raw", "/api/v1/namespaces/x%2F..%2F{other}/pods"), "may not list pods", id="raw %2F"),
        pytest.param(("get", "--raw", "/metrics"), "may not get path", id="metrics"),
        pytest.param(("create", "token", "default", "--audience=k8s-mcp-server"), "never issued", id="our audience"),
    ],
)  # fmt: skip
async def test_what_the_policy_does_not_allow_is_refused_with_a_reason(
    rig: Rig, arguments: tuple[str, ...], expected: str
) -> None:
    site = rig.site
    named = [item.format(team=site.team, other=site.other, own=site.own) for item in arguments]
    got = await rig.kubectl(*named)
    assert got.code != 0
    assert expected in got.stderr
    assert rig.session.requests_denied >= 1
    [denied] = [line for line in rig.requests() if line["verdict"] == "deny"]
    assert denied["reason"] in {
        "SensitiveNotNamed", "NotAllowed", "OwnNamespace", "MalformedRequest", "NeverAllowed",
    }  # fmt: skip


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def token_request(spec: bytes) -> bytes:
    type_meta = _field(1, b"authentication.k8s.io/v1") + _field(2, b"TokenRequest")
    return b"k8s\0" + _field(1, type_meta) + spec


OTHER_AUDIENCE = _field(1, b"other")


OUR_AUDIENCE = _field(1, b"k8s-mcp-server")


SPEC_BEYOND = 2 + (1 << 32)  # the generated decoder reads it as 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(_field(2, _field(2, OTHER_AUDIENCE)), 201, id="another audience"),
        pytest.param(_field(2, _field(2, OUR_AUDIENCE)), 403, id="ours"),
        pytest.param(_field(2, _field(SPEC_BEYOND, OUR_AUDIENCE)), 403, id="ours in a spec beyond"),
        pytest.param(_field(2, _field(2, OTHER_AUDIENCE + _field(1 + (1 << 32), b"k8s-mcp-server"))), 403, id="beyond"),
        pytest.param(
            _field(2, _field(2, OTHER_AUDIENCE)) + _field(SPEC_BEYOND, _field(2, OUR_AUDIENCE)), 403, id="raw beyond"
        ),
    ],
)
async def test_no_spelling_of_our_audience_gets_a_token(rig: Rig, body: bytes, status: int) -> None:
    async with await RawClient.connect(rig.gateway.port, rig.gateway.ca_pem) as client:
        target = f"/api/v1/namespaces/{rig.site.team}/serviceaccounts/default/token"
        headers = ("Content-Type: application/vnd.kubernetes.protobuf",)
        await client.send(request("POST", target, token=rig.session.token, headers=headers, body=token_request(body)))
        assert (await client.response()).status == status


async def test_impersonation_by_the_command_does_not_reach_the_api_server(rig: Rig) -> None:
    got = await rig.kubectl("get", "pods", "-n", rig.site.other, "--as=system:admin", "--as-group=system:masters")
    assert got.code != 0
    assert "may not list pods" in got.stderr


async def test_exec_elsewhere_is_refused(rig: Rig) -> None:
    run = await rig.kubectl("exec", "-n", rig.site.other, "web", "--", "id")
    assert run.code != 0
    assert "uid=" not in run.stdout


async def test_a_closed_sessions_token_is_worthless(rig: Rig) -> None:
    await rig.gateway.close_session(rig.session)
    got = await rig.kubectl("get", "pods")
    assert got.code != 0
    assert "must be logged in" in got.stderr
