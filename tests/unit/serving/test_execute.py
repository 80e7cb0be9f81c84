"""``execute_kubectl`` over real HTTP, in both eras of the protocol."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.execution.result import KilledFor, Result
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.limits import Limits
from tests.support.serving import DONE, Service, policy, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp import Client as McpClient
    from mcp.types import CallToolResult

    from k8s_mcp_server.execution.pipeline import Pipeline
    from k8s_mcp_server.gateway.session import CommandSession

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
NEVER = asyncio.Event


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as running:
        yield running


async def run(service: Service, arguments: dict[str, Any], *, as_: str = "alice", mode: str = "auto") -> CallToolResult:
    async with asyncio.timeout(20), service.client(as_=as_, mode=mode) as client:
        return await client.call_tool("execute_kubectl", arguments)


def fields(result: CallToolResult) -> dict[str, Any]:
    structured: dict[str, Any] | None = result.structured_content
    assert structured is not None
    return structured


def text(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


def counted(service: Service, outcome: str) -> float | None:
    labels = {"cli": "kubectl", "outcome": outcome}
    return service.metrics.registry.get_sample_value("k8s_mcp_commands_total", labels)


def in_flight(service: Service) -> float | None:
    return service.metrics.registry.get_sample_value("k8s_mcp_commands_in_flight", {"cli": "kubectl"})


@MODES
async def test_a_command_runs_and_its_output_comes_back(service: Service, mode: str) -> None:
    result = await run(service, {"command": "get pods -n team-a"}, mode=mode)

    assert not result.is_error
    assert fields(result)["status"] == "succeeded"
    assert fields(result)["exit_code"] == 0
    assert fields(result)["stdout"] == "done\n"
    assert fields(result)["cluster"] == "test"
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
    assert line["commandID"] == fields(result)["command_id"]
    assert line["client"] == "system:serviceaccount:team-a-agents:alice"
    assert (line["subcommand"], line["stages"]) == ("get", ["kubectl", "head"])
    assert line["flags"] == ["-n", "-o"]
    assert (line["outcome"], line["exitCode"]) == ("succeeded", 0)
    assert "team-a" not in str({key: value for key, value in line.items() if key != "client"})


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

    answer = fields(result)
    assert result.is_error
    assert answer["status"] == "refused"
    assert answer["reason"] == (reason or answer["reason"])
    assert answer["message"]
    assert answer["hint"]
    assert answer["hint"] in text(result)
    assert len(text(result)) < 2000
    assert service.executor.pipelines == []
    assert service.audit()[0]["outcome"] == "refused"
    assert (counted(service, "refused"), in_flight(service)) == (1.0, None)


@pytest.mark.parametrize("asked", [61, 1e9, 10**9])
async def test_a_timeout_above_the_limit_is_cut_and_said(service: Service, asked: float) -> None:
    result = await run(service, {"command": "get pods", "timeout": asked})

    assert (fields(result)["timeout_seconds"], fields(result)["timeout_clamped"]) == (60, True)
    assert "cut to the limit of 60 s" in text(result)
    assert service.executor.limits[0].timeout_seconds == 60


@pytest.mark.parametrize(("asked", "given"), [(5, 5), (1.5, 2), (60, 60), (None, 60)])
async def test_less_time_than_the_limit_may_be_asked_for(service: Service, asked: float | None, given: int) -> None:
    result = await run(service, {"command": "get pods"} | ({} if asked is None else {"timeout": asked}))

    assert service.executor.limits[0].timeout_seconds == given
    assert "timeout_clamped" not in fields(result)


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

    assert (fields(result)["status"], fields(result)["reason"]) == ("denied", reason)
    assert "check_access" in fields(result)["hint"]
    assert service.executor.pipelines == []
    assert service.audit()[0]["reason"] == reason


async def test_stale_policies_deny(service: Service) -> None:
    service.store.seconds_old = 31

    result = await run(service, {"command": "get pods"})

    assert (fields(result)["status"], fields(result)["reason"]) == ("denied", "SnapshotStale")
    assert service.executor.pipelines == []


async def test_a_replica_that_is_not_ready_runs_nothing_and_says_why(service: Service) -> None:
    service.not_ready.append("SandboxUnavailable")

    result = await run(service, {"command": "get pods"})

    assert (fields(result)["status"], fields(result)["reason"]) == ("unavailable", "SandboxUnavailable")
    assert fields(result)["retry_after_seconds"] > 0
    assert service.executor.pipelines == []


@pytest.mark.parametrize(
    ("ended", "status", "reason"),
    [
        pytest.param({"exit_code": 1, "stderr": b"error: no\n"}, "failed", None, id="another exit code"),
        pytest.param({"exit_code": None, "timed_out": True}, "timed_out", "Timeout", id="the timeout"),
        pytest.param({"exit_code": None, "killed_for": KilledFor.MEMORY}, "failed", "MemoryLimit", id="memory"),
        pytest.param({"exit_code": None, "killed_for": KilledFor.CPU}, "failed", "CpuLimit", id="processor time"),
        pytest.param({"exit_code": None, "killed_for": KilledFor.DISK}, "failed", "DiskLimit", id="disk"),
    ],
)
async def test_how_a_command_ended_is_said(
    service: Service, ended: dict[str, Any], status: str, reason: str | None
) -> None:
    service.executor.result = Result(
        stage_exit_codes=(1,), duration_seconds=0.5, **{"stdout": b"", "stderr": b""} | ended
    )

    result = await run(service, {"command": "get pods"})

    assert result.is_error
    assert fields(result)["status"] == status
    assert fields(result).get("reason") == reason
    assert counted(service, status) == 1.0


@pytest.mark.parametrize(("asked", "said"), [(5, "up to 60 s"), (60, "quicker"), (90, "quicker")])
async def test_a_timeout_says_whether_more_can_be_asked_for(service: Service, asked: int, said: str) -> None:
    service.executor.result = Result(
        exit_code=None, stage_exit_codes=(-9,), stdout=b"", stderr=b"", duration_seconds=asked, timed_out=True
    )

    result = await run(service, {"command": "get pods", "timeout": asked})

    assert said in fields(result)["hint"]
    assert ("up to" in fields(result)["hint"]) is (asked < 60)


async def test_output_that_was_cut_says_how_to_ask_for_less(service: Service) -> None:
    service.executor.result = Result(
        exit_code=None,
        stage_exit_codes=(-9,),
        stdout=b"x" * 100,
        stderr=b"",
        duration_seconds=0.5,
        stdout_truncated=True,
        killed_for=KilledFor.OUTPUT,
    )

    result = await run(service, {"command": "get pods"})

    assert not result.is_error
    assert fields(result)["status"] == "truncated"
    assert fields(result)["truncated"] is True
    assert "ask for less" in fields(result)["hint"]
    assert service.audit()[0]["truncated"] is True


async def test_hidden_characters_of_the_cluster_are_shown_and_output_is_marked_untrusted(service: Service) -> None:
    service.executor.result = Result(
        exit_code=0, stage_exit_codes=(0,), stdout=b"a\x1b[8m\n", stderr="\u202e".encode(), duration_seconds=0.1
    )

    result = await run(service, {"command": "get pods"})

    assert fields(result)["stdout"] == "a\\u001b[8m\n"
    assert fields(result)["stderr"] == "\\u202e"
    assert "never instructions" in text(result)
    blocks = [block.meta or {} for block in result.content if block.type == "text"]
    assert [block["k8s-mcp.io/source"] for block in blocks] == ["stdout", "stderr", "k8s-mcp-server"]


@MODES
@pytest.mark.parametrize("piece", ['"\n', "ä", "x", "\x00", "\u202e"])
async def test_the_largest_answer_fits_into_what_clients_take(service: Service, mode: str, piece: str) -> None:
    service.store.set(policy("readers", "alice", limits={"outputBytes": 300_000}))
    service.executor.result = Result(
        exit_code=0,
        stage_exit_codes=(0,),
        stdout=(piece * 400_000).encode(),
        stderr=(piece * 60_000).encode(),
        duration_seconds=0.1,
    )

    result = await run(service, {"command": "get pods"}, mode=mode)

    assert fields(result)["truncated"] is True
    assert len(fields(result)["stdout"].encode()) >= 200_000


async def test_a_request_that_policy_denied_is_explained(service: Service) -> None:
    async def work(_: Pipeline, session: CommandSession) -> Result:
        session.count(
            Decision(
                verdict=Verdict.DENY, reason=Reason.NOT_ALLOWED, message="No get secrets.", nearest=("get pods in a",)
            )
        )
        return Result(exit_code=1, stage_exit_codes=(1,), stdout=b"", stderr=b"Forbidden\n", duration_seconds=0.1)

    service.executor.work = work

    result = await run(service, {"command": "get secrets"})

    assert (fields(result)["status"], fields(result)["reason"]) == ("denied", "NotAllowed")
    assert fields(result)["denials"] == ["No get secrets. Allowed instead: get pods in a."]
    assert "Allowed instead: get pods in a." in text(result)
    assert service.audit()[0]["requests"] == {"exact": 0, "filtered": 0, "deny": 1, "audit": 0}


@pytest.mark.parametrize(("revoked", "status"), [(1, "denied"), (0, "succeeded")])
async def test_exit_code_0_is_no_success_when_policy_ended_a_request_and_is_one_when_it_only_denied_one(
    service: Service, revoked: int, status: str
) -> None:
    async def work(_: Pipeline, session: CommandSession) -> Result:
        session.count(Decision(verdict=Verdict.DENY, reason=Reason.NOT_ALLOWED, message="No watch pods."))
        session.requests_revoked = revoked
        return DONE

    service.executor.work = work

    result = await run(service, {"command": "get pods --watch"})

    assert (fields(result)["status"], fields(result)["exit_code"]) == (status, 0)
    assert result.is_error is bool(revoked)
    assert fields(result).get("reason", "") == ("NotAllowed" if revoked else "")
    assert ("a policy changed while it ran" in text(result)) is bool(revoked)
    assert fields(result)["denials"] == ["No watch pods."]
    assert fields(result)["stdout"] == "done\n"
    assert service.audit()[0]["outcome"] == status


async def test_a_command_that_was_ended_between_its_requests_says_why_and_keeps_its_output(service: Service) -> None:
    async def work(_: Pipeline, session: CommandSession) -> Result:
        session.end(Decision(verdict=Verdict.DENY, reason=Reason.BLOCKED, message="Policy p blocks you."))
        return replace(DONE, exit_code=None, killed_for=KilledFor.POLICY)

    service.executor.work = work

    result = await run(service, {"command": "get pods -o name | sort"})

    assert (fields(result)["status"], fields(result)["reason"]) == ("denied", "Blocked")
    assert fields(result)["message"] == "ended while it ran; what it changes may be incomplete. Policy p blocks you."
    assert fields(result)["stdout"] == "done\n"
    assert service.audit()[0]["reason"] == "Blocked"


async def test_the_executor_is_told_when_the_command_is_to_end(service: Service) -> None:
    entered = asyncio.Event()

    async def work(_: Pipeline, __: CommandSession) -> Result:
        entered.set()
        await service.executor.ended[-1].wait()
        return replace(DONE, exit_code=None, killed_for=KilledFor.POLICY)

    service.executor.work = work
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        running = group.create_task(run(service, {"command": "get pods"}))
        await entered.wait()
        service.gateway.open_sessions[0].end(Decision(verdict=Verdict.DENY, reason=Reason.NO_POLICY, message="None."))

    assert fields(running.result())["reason"] == "NoPolicy"


async def test_each_cli_of_a_pipeline_takes_a_place_of_the_client(service: Service) -> None:
    service.store.set(policy("readers", "alice", limits={"concurrentCommands": 3}))
    entered, release = asyncio.Event(), asyncio.Event()

    async def work(_: Pipeline, __: CommandSession) -> Result:
        entered.set()
        await release.wait()
        return DONE

    service.executor.work = work
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        first = group.create_task(run(service, {"command": "get pods -o name | grep x | kubectl get -f -"}))
        await entered.wait()
        refused = await run(service, {"command": "get pods | kubectl get -f -"})
        release.set()

    assert (fields(refused)["status"], fields(refused)["reason"]) == ("refused", "TooManyCommands")
    assert fields(first.result())["status"] == "succeeded"


async def test_requests_denied_for_different_reasons_share_one_word(service: Service) -> None:
    async def work(_: Pipeline, session: CommandSession) -> Result:
        for reason in (Reason.NOT_ALLOWED, Reason.SENSITIVE_NOT_NAMED):
            session.count(Decision(verdict=Verdict.DENY, reason=reason, message=reason.value))
        return Result(exit_code=1, stage_exit_codes=(1,), stdout=b"", stderr=b"Forbidden\n", duration_seconds=0.1)

    service.executor.work = work

    result = await run(service, {"command": "get secrets,pods"})

    assert fields(result)["reason"] == "PolicyDenied"
    assert fields(result)["denials"] == ["NotAllowed", "SensitiveNotNamed"]


@pytest.mark.parametrize(
    ("dry_runs", "writes", "line"),
    [
        pytest.param(2, 0, "DRY RUN, nothing changed", id="all of them"),
        pytest.param(1, 2, "DRY RUN in part: 1 of 3 writes changed nothing", id="some of them"),
        pytest.param(0, 2, "", id="none of them"),
    ],
)
async def test_a_dry_run_is_the_first_thing_that_a_result_says(
    service: Service, dry_runs: int, writes: int, line: str
) -> None:
    async def work(_: Pipeline, session: CommandSession) -> Result:
        session.dry_runs, session.writes = dry_runs, writes
        return Result(exit_code=0, stage_exit_codes=(0,), stdout=b"created\n", stderr=b"", duration_seconds=0.1)

    service.executor.work = work

    result = await run(service, {"command": "create configmap x"})

    assert fields(result).get("dry_run", "") == line
    assert text(result).startswith(line or "created")
    assert service.audit()[0]["dryRuns"] == dry_runs


@pytest.mark.parametrize(
    ("mode", "command", "argv"),
    [
        pytest.param("DryRun", "delete pod x", ("kubectl", "--wait=false", "delete", "pod", "x"), id="delete"),
        pytest.param("DryRun", "get pods", ("kubectl", "get", "pods"), id="anything else"),
        pytest.param("Enforce", "delete pod x", ("kubectl", "delete", "pod", "x"), id="no dry run"),
    ],
)
async def test_a_delete_that_is_a_dry_run_does_not_wait_for_what_never_goes(
    service: Service, mode: str, command: str, argv: tuple[str, ...]
) -> None:
    service.store.set(policy("readers", "alice", mode=mode))
    await run(service, {"command": command})

    assert service.executor.pipelines[0].stages[0].argv == argv


async def test_a_list_that_was_cut_is_marked(service: Service) -> None:
    async def work(_: Pipeline, session: CommandSession) -> Result:
        session.count(Decision(verdict=Verdict.FILTERED, reason=Reason.ALLOWED_BY_RULE))
        return DONE

    service.executor.work = work

    result = await run(service, {"command": "get pods -A"})

    assert fields(result)["filtered"] is True
    assert "filtered" in text(result)


async def test_what_the_executor_refuses_is_a_refusal(service: Service) -> None:
    async def work(_: Pipeline, __: CommandSession) -> Result:
        raise CommandRefused("ProgramMissing", "jq is not installed in this server.")

    service.executor.work = work

    result = await run(service, {"command": "get pods | jq ."})

    assert (fields(result)["status"], fields(result)["reason"]) == ("refused", "ProgramMissing")
    assert (service.gateway.open_sessions, in_flight(service)) == ([], 0.0)


async def test_a_process_that_cannot_start_is_unavailable(service: Service) -> None:
    async def work(_: Pipeline, __: CommandSession) -> Result:
        raise OSError("fork failed in /secret/path")

    service.executor.work = work

    result = await run(service, {"command": "get pods"})

    assert fields(result)["status"] == "unavailable"
    assert "/secret/path" not in text(result)


async def test_a_fault_of_ours_is_logged_and_not_shown(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    async def work(_: Pipeline, __: CommandSession) -> Result:
        raise KeyError("internals")

    service.executor.work = work

    result = await run(service, {"command": "get pods"})

    assert (fields(result)["status"], fields(result)["reason"]) == ("unavailable", "InternalError")
    assert "internals" not in text(result)
    assert "internals" in caplog.text
    assert service.gateway.open_sessions == []


@MODES
async def test_progress_arrives_while_a_command_runs(mode: str) -> None:
    seen: list[tuple[float, float | None, str | None]] = []
    told = asyncio.Event()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))
        told.set()

    async def work(_: Pipeline, __: CommandSession) -> Result:
        await told.wait()
        return DONE

    async with serving(progress_seconds=0.01) as service:
        service.executor.work = work
        async with asyncio.timeout(20), service.client(mode=mode) as client:
            result = await client.call_tool("execute_kubectl", {"command": "get pods"}, progress_callback=on_progress)

    assert fields(result)["status"] == "succeeded"
    assert seen[0][1] == 60
    assert "running" in (seen[0][2] or "")


async def call_until_cancelled(client: McpClient) -> None:
    await client.call_tool("execute_kubectl", {"command": "get pods --watch"})


@MODES
async def test_a_client_that_leaves_ends_its_command(service: Service, mode: str) -> None:
    started, recorded = asyncio.Event(), asyncio.Event()

    async def work(_: Pipeline, __: CommandSession) -> Result:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def leave() -> None:
        async with service.client(mode=mode) as client:
            await client.call_tool("execute_kubectl", {"command": "get pods --watch"})

    service.executor.work = work
    agent = asyncio.create_task(leave())
    async with asyncio.timeout(20):
        await started.wait()
        agent.cancel()
        await asyncio.wait({agent})
        while not service.audit():  # noqa: ASYNC110 - the server notices by itself, and writes a line
            await asyncio.sleep(0.01)

    assert not recorded.is_set()
    assert (service.executor.cancelled, service.executor.running) == (1, 0)
    assert (service.gateway.open_sessions, service.gateway.closed) == ([], 1)
    assert (service.admission.running, in_flight(service)) == (0, 0.0)
    assert service.audit()[0]["outcome"] == "cancelled"


async def test_a_client_may_not_run_more_at_once_than_its_limit() -> None:
    release = asyncio.Event()
    started = asyncio.Semaphore(0)

    async def work(_: Pipeline, __: CommandSession) -> Result:
        started.release()
        await release.wait()
        return DONE

    async with serving(defaults=Limits(concurrent_commands=1)) as service, asyncio.timeout(20):
        service.executor.work = work
        first = asyncio.create_task(run(service, {"command": "get pods"}))
        await started.acquire()
        second = await run(service, {"command": "get pods"})
        release.set()
        done = await first

    assert (fields(second)["status"], fields(second)["reason"]) == ("refused", "TooManyCommands")
    assert fields(second)["retry_after_seconds"] > 0
    assert fields(done)["status"] == "succeeded"


async def test_a_client_may_not_run_more_a_minute_than_its_limit() -> None:
    async with serving(defaults=Limits(commands_per_minute=1)) as service:
        await run(service, {"command": "get pods"})
        second = await run(service, {"command": "get pods"})

    assert (fields(second)["status"], fields(second)["reason"]) == ("refused", "RateLimited")


async def test_a_full_replica_is_unavailable() -> None:
    release, started = asyncio.Event(), asyncio.Semaphore(0)

    async def work(_: Pipeline, __: CommandSession) -> Result:
        started.release()
        await release.wait()
        return DONE

    async with serving(max_running=1, max_queued=0) as service, asyncio.timeout(20):
        service.store.set(policy("readers", "alice", "bob"))
        service.executor.work = work
        first = asyncio.create_task(run(service, {"command": "get pods"}))
        await started.acquire()
        second = await run(service, {"command": "get pods"}, as_="bob")
        release.set()
        await first

    assert (fields(second)["status"], fields(second)["reason"]) == ("unavailable", "QueueFull")
