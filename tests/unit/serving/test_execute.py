"""``execute_kubectl`` over real HTTP, in both eras of the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.policy.limits import Limits
from k8s_mcp_server.serving.form import fields_of
from tests.support.agent import text_of
from tests.support.executing import MODES, counted, in_flight, run
from tests.support.serving import Service, policy, serving

if TYPE_CHECKING:
    pass

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@MODES
async def test_a_command_runs_and_its_output_comes_back(service: Service, mode: str) -> None:
    result = await run(service, {"command": "get pods -n team-a"}, mode=mode)

    assert not result.is_error
    assert fields_of(result)["status"] == "succeeded"
    assert fields_of(result)["exit_code"] == 0
    assert fields_of(result)["stdout"] == "done\n"
    assert fields_of(result)["cluster"] == "test"
    assert result.content[0].type == "text"
    assert result.content[0].text == "done\n"
    assert [stage.argv for stage in service.executor.pipelines[0].stages] == [
        ("kubectl", "get", "pods", "-n", "team-a")
    ]
    assert (counted(service, "succeeded"), in_flight(service)) == (1.0, 0.0)


async def test_a_command_gets_a_token_of_its_own_which_dies_with_it(service: Service) -> None:
    await run(service, {"command": "get pods"})
    await run(service, {"command": "get pods"})

    tokens = [access.token for access in service.executor.access if access]
    assert len(set(tokens)) == 2
    assert all(access and access.server_url == "https://127.0.0.1:1" for access in service.executor.access)
    assert (service.gateway.open_sessions, service.gateway.closed) == ([], 2)


async def test_a_command_without_a_namespace_is_about_the_policy_s_default_one(service: Service) -> None:
    service.store.set(policy("readers", "alice", defaultNamespace="team-a"))
    await run(service, {"command": "get pods"})

    assert [access.namespace for access in service.executor.access if access] == ["team-a"]


async def test_stdin_reaches_the_command_and_the_audit_has_its_size_only(service: Service) -> None:
    await run(service, {"command": "apply -f -", "stdin": "kind: Sécret\n"})

    assert service.executor.stdin == ["kind: Sécret\n".encode()]
    (line,) = service.audit()
    assert line["stdinBytes"] == 14
    assert "cret" not in service.audit_stream.getvalue()


async def test_the_audit_line_says_who_did_what(service: Service) -> None:
    result = await run(service, {"command": "get pods -n team-a -o name | head -5"})

    (line,) = service.audit()
    assert line["commandID"] == fields_of(result)["command_id"]
    assert line["client"] == "system:serviceaccount:team-a-agents:alice"
    assert (line["subcommand"], line["stages"]) == ("get", ["kubectl", "head"])
    assert line["flags"] == ["-n", "-o"]
    assert (line["outcome"], line["exitCode"]) == ("succeeded", 0)
    assert "team-a" not in str({key: value for key, value in line.items() if key != "client"})


async def test_the_audit_line_has_the_reasons_that_policies_state(service: Service) -> None:
    service.store.set(policy("readers", "alice", reason="INC-4711"), policy("others", "bob", reason="INC-1"))
    await run(service, {"command": "get pods"})

    assert service.audit()[0]["policyReasons"] == ["INC-4711"]


BAD_INPUT = [
    pytest.param({}, "InvalidCommand", id="no command"),
    pytest.param({"command": ""}, "", id="an empty command"),
    pytest.param({"command": " \n\t "}, "", id="a blank command"),
    pytest.param({"command": "get pods " + "x" * 2**20}, "", id="a command of 1 MB"),
    pytest.param({"command": "get pods\nget secrets"}, "", id="several lines"),
    pytest.param({"command": "get \x1b[31mpods"}, "", id="a control character"),
    pytest.param({"command": 5}, "InvalidCommand", id="a number"),
    pytest.param({"command": ["get", "pods"]}, "InvalidCommand", id="a list"),
    pytest.param({"command": None}, "InvalidCommand", id="null"),
    pytest.param({"command": "frobnicate pods"}, "", id="an unknown word"),
    pytest.param({"command": "get pods 'team-a"}, "", id="an unbalanced quote"),
    pytest.param({"command": "get pods $(id)"}, "", id="a substitution"),
    pytest.param({"command": "get pods > /tmp/x"}, "", id="a redirection"),
    pytest.param({"command": "get pods && get secrets"}, "", id="an and-list"),
    pytest.param({"command": "get pods; get secrets"}, "", id="a semicolon"),
    pytest.param({"command": "get pods | sh"}, "", id="a program that is no filter"),
    pytest.param({"command": "get pods --kubeconfig /x"}, "", id="--kubeconfig"),
    pytest.param({"command": "get pods --server=https://x"}, "", id="--server"),
    pytest.param({"command": "get pods --token x"}, "", id="--token"),
    pytest.param({"command": "get pods --as admin"}, "", id="--as"),
    pytest.param({"command": "get pods", "timeout": -1}, "InvalidTimeout", id="a negative timeout"),
    pytest.param({"command": "get pods", "timeout": 0}, "InvalidTimeout", id="no timeout"),
    pytest.param({"command": "get pods", "timeout": "5; id"}, "InvalidTimeout", id="a timeout with more in it"),
    pytest.param({"command": "get pods", "timeout": "5"}, "InvalidTimeout", id="a timeout as text"),
    pytest.param({"command": "get pods", "timeout": True}, "InvalidTimeout", id="a timeout that is true"),
    pytest.param({"command": "get pods", "timeout": [5]}, "InvalidTimeout", id="a timeout in a list"),
    pytest.param({"command": "apply -f -", "stdin": {"kind": "Pod"}}, "InvalidStdin", id="an object as stdin"),
    pytest.param({"command": "get pods", "namespace": "x"}, "UnknownArgument", id="an unknown argument"),
    pytest.param({"command": "get pods", "x" * 500: 1}, "UnknownArgument", id="a very long unknown argument"),
]


@pytest.mark.parametrize(("arguments", "reason"), BAD_INPUT)
async def test_bad_input_is_refused_with_what_to_write_and_nothing_runs(
    service: Service, arguments: dict[str, Any], reason: str
) -> None:
    result = await run(service, arguments)

    answer = fields_of(result)
    assert result.is_error
    assert answer["status"] == "refused"
    assert answer["reason"] == (reason or answer["reason"])
    assert answer["message"]
    assert answer["hint"]
    assert answer["hint"] in text_of(result)
    assert len(text_of(result)) < 2000
    assert service.executor.pipelines == []
    assert service.audit()[0]["outcome"] == "refused"
    assert (counted(service, "refused"), in_flight(service)) == (1.0, None)


@pytest.mark.parametrize("asked", [61, 1e9, 10**9])
async def test_a_timeout_above_the_limit_is_cut_and_said(service: Service, asked: float) -> None:
    result = await run(service, {"command": "get pods", "timeout": asked})

    assert (fields_of(result)["timeout_seconds"], fields_of(result)["timeout_clamped"]) == (60, True)
    assert "cut to the limit of 60 s" in text_of(result)
    assert service.executor.limits[0].timeout_seconds == 60


@pytest.mark.parametrize(("asked", "given"), [(5, 5), (1.5, 2), (60, 60), (None, 60)])
async def test_less_time_than_the_limit_may_be_asked_for(service: Service, asked: float | None, given: int) -> None:
    result = await run(service, {"command": "get pods"} | ({} if asked is None else {"timeout": asked}))

    assert service.executor.limits[0].timeout_seconds == given
    assert "timeout_clamped" not in fields_of(result)


async def test_the_policys_limits_hold(service: Service) -> None:
    service.store.set(policy("readers", "alice", limits={"timeoutSeconds": 7, "outputBytes": 1000}))

    await run(service, {"command": "get pods"})

    assert service.executor.limits[0] == Limits(timeout_seconds=7, output_bytes=1000, commands_per_minute=1000)


async def test_no_policy_can_exceed_what_the_service_can_do() -> None:
    async with serving(max_timeout=100) as service:
        service.store.set(policy("readers", "alice", limits={"timeoutSeconds": 3600, "outputBytes": 300_000}))
        await run(service, {"command": "get pods"})

    assert (service.executor.limits[0].timeout_seconds, service.executor.limits[0].output_bytes) == (100, 300_000)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        pytest.param({"block": True}, "Blocked", id="blocked"),
        pytest.param({"suspend": True}, "PolicySuspended", id="suspended"),
        pytest.param({"expiresAt": "2026-01-02T00:00:00Z"}, "PolicyExpired", id="expired"),
        pytest.param({"rules": [{"verbs": []}]}, "PolicyInvalid", id="invalid"),
        pytest.param({"rules": [{"verbs": []}], "deny": [{}]}, "PolicyInvalid", id="invalid with a deny"),
        pytest.param(None, "NoPolicy", id="no policy"),
    ],
)
async def test_who_has_no_policy_in_force_is_denied_with_a_reason_of_its_own(
    service: Service, spec: dict[str, Any] | None, reason: str
) -> None:
    service.store.set(*([] if spec is None else [policy("readers", "alice", **spec)]))

    result = await run(service, {"command": "get pods"})

    assert (fields_of(result)["status"], fields_of(result)["reason"]) == ("denied", reason)
    assert "check_access" in fields_of(result)["hint"]
    assert service.executor.pipelines == []
    assert service.audit()[0]["reason"] == reason


async def test_stale_policies_deny(service: Service) -> None:
    service.store.seconds_old = 31

    result = await run(service, {"command": "get pods"})

    assert (fields_of(result)["status"], fields_of(result)["reason"]) == ("denied", "SnapshotStale")
    assert service.executor.pipelines == []


async def test_a_replica_that_is_not_ready_runs_nothing_and_says_why(service: Service) -> None:
    service.not_ready.append("SandboxUnavailable")

    result = await run(service, {"command": "get pods"})

    assert (fields_of(result)["status"], fields_of(result)["reason"]) == ("unavailable", "SandboxUnavailable")
    assert fields_of(result)["retry_after_seconds"] > 0
    assert service.executor.pipelines == []
