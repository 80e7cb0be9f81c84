"""Which tools a caller sees, and ``check_access``."""

from __future__ import annotations

import asyncio
import importlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference

from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.limits import Limits
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.caller import NotAuthenticatedError
from k8s_mcp_server.serving.form import fields_of
from k8s_mcp_server.serving.grants import Grants
from k8s_mcp_server.serving.mcp_server import AgentServer
from k8s_mcp_server.serving.prompts import Prompts
from tests.support.agent import text_of
from tests.support.serving import FakeDiscovery, FakeStore, Service, policy, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as running:
        yield running


async def listed(service: Service, *, as_: str, mode: str = "auto") -> list[str]:
    async with asyncio.timeout(20), service.client(as_=as_, mode=mode) as client:
        return [tool.name for tool in (await client.list_tools()).tools]


@MODES
async def test_each_caller_sees_the_tools_that_its_policies_give(service: Service, mode: str) -> None:
    assert await listed(service, as_="alice", mode=mode) == ["execute_kubectl", "describe_kubectl", "check_access"]
    assert await listed(service, as_="bob", mode=mode) == ["check_access"]


async def test_the_list_follows_the_policy(service: Service) -> None:
    service.store.set(policy("readers", "bob"))

    assert await listed(service, as_="bob") == ["execute_kubectl", "describe_kubectl", "check_access"]
    assert await listed(service, as_="alice") == ["check_access"]


async def test_nothing_can_be_run_from_stale_policies(service: Service) -> None:
    service.store.seconds_old = 60

    assert await listed(service, as_="alice") == ["check_access"]


@MODES
async def test_an_unknown_tool_is_an_error_result(service: Service, mode: str) -> None:
    async with asyncio.timeout(20), service.client(mode=mode) as client:
        result = await client.call_tool("execute_bash", {"command": "id"})

    assert result.is_error
    assert result.content[0].type == "text"
    assert "Unknown tool" in result.content[0].text


MOST_TOKENS = 1500


@pytest.mark.filterwarnings("ignore:open_binary:DeprecationWarning")  # how the tokenizer reads its own ranks
async def test_all_tools_together_cost_a_model_few_tokens() -> None:
    async with serving(clis=tuple(Tool)) as service:
        service.store.set(policy("readers", "alice", tools=[tool.value for tool in Tool]))
        async with asyncio.timeout(20), service.client() as client:
            tools = (await client.list_tools()).tools
    assert len(tools) == 2 * len(Tool) + 1
    written = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]

    tokenizer = importlib.import_module("bpe_openai").get_encoding("o200k_base")  # without type hints
    tokens = len(tokenizer.encode(json.dumps(written, separators=(",", ":"))))

    print(f"{len(tools)} tools, {tokens} tokens")
    assert tokens <= MOST_TOKENS, tokens


async def test_schemas_are_strict(service: Service) -> None:
    async with asyncio.timeout(20), service.client() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    execute = tools["execute_kubectl"]
    assert execute.input_schema["additionalProperties"] is False
    assert execute.input_schema["required"] == ["command"]
    assert execute.annotations is not None
    assert execute.annotations.destructive_hint is True


@MODES
async def test_check_access_says_who_you_are_and_what_you_may_do(service: Service, mode: str) -> None:
    async with asyncio.timeout(20), service.client(mode=mode) as client:
        result = await client.call_tool("check_access", {})

    assert fields_of(result)["username"] == "system:serviceaccount:team-a-agents:alice"
    assert fields_of(result)["cluster"] == "test"
    assert result.content[0].type == "text"
    assert "readers" in result.content[0].text
    assert "team-a" in result.content[0].text


async def test_check_access_answers_also_whom_no_policy_names(service: Service) -> None:
    async with asyncio.timeout(20), service.client(as_="bob") as client:
        result = await client.call_tool("check_access", {})

    assert not result.is_error
    assert result.content[0].type == "text"
    assert "system:serviceaccount:team-a-agents:bob" in result.content[0].text
    assert "No access policy names you" in result.content[0].text
    assert "readers" not in result.content[0].text


async def test_check_access_names_an_argument_that_it_does_not_take(service: Service) -> None:
    async with asyncio.timeout(20), service.client() as client:
        result = await client.call_tool("check_access", {"who": "bob"})

    assert result.is_error
    assert fields_of(result)["reason"] == "UnknownArgument"


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ({"verb": "list", "resource": "pods", "namespace": "team-a"}, True),
        ({"verb": "get", "resource": "po", "namespace": "team-a", "name": "x"}, True),
        ({"verb": "list", "resource": "pods", "namespace": "*"}, True),
        ({"verb": "delete", "resource": "pods", "namespace": "team-a", "name": "x"}, False),
        ({"verb": "get", "resource": "pods/log", "namespace": "team-a", "name": "x"}, False),
        ({"verb": "list", "resource": "nodes"}, False),
        ({"verb": "list", "resource": "pods", "namespace": "elsewhere"}, False),
        ({"verb": "list", "resource": "pods", "namespace": "team-a", "tool": "helm"}, False),
    ],
)
async def test_check_access_answers_for_one_request(
    service: Service, arguments: dict[str, str], *, allowed: bool
) -> None:
    async with asyncio.timeout(20), service.client() as client:
        result = await client.call_tool("check_access", arguments)

    assert fields_of(result)["allowed"] is allowed
    assert result.content[0].type == "text"
    assert result.content[0].text.startswith("yes" if allowed else "no")


async def test_check_access_takes_verbs_and_tools_as_others_write_them(service: Service) -> None:
    async with asyncio.timeout(20), service.client() as client:
        arguments = {"verb": "LIST", "resource": "pods", "namespace": "team-a", "tool": "execute_kubectl"}
        result = await client.call_tool("check_access", arguments)

    assert fields_of(result)["allowed"] is True


async def test_a_cli_that_the_installation_lacks_is_said_to_be(service: Service) -> None:
    async with asyncio.timeout(20), service.client() as client:
        checked = await client.call_tool("check_access", {"command": "istioctl version"})
        called = await client.call_tool("execute_istioctl", {"command": "version"})

    assert (fields_of(checked)["reason"], fields_of(checked)["hint"]) == ("ProgramMissing", "There are: kubectl.")
    assert "istioctl is no part of this installation" in text_of(called)


async def test_check_access_says_what_is_missing_which_rule_would_give_it_and_what_works(service: Service) -> None:
    async with asyncio.timeout(20), service.client() as client:
        arguments = {"verb": "delete", "resource": "deploy", "namespace": "team-a", "name": "x"}
        result = await client.call_tool("check_access", arguments)

    assert fields_of(result)["next_command"] == "kubectl get pods -n team-a"
    assert 'Missing: verb "delete" on "deployments"' in fields_of(result)["missing"][0]
    assert yaml.safe_load(fields_of(result)["rules"]) == [
        {"namespaces": ["team-a"], "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["delete"]}
    ]


@pytest.mark.parametrize(
    "arguments",
    [{"verb": "list"}, {"resource": "pods"}, {"verb": "li st", "resource": "pods"}, {"verb": 7, "resource": "pods"},
     {"verb": "list", "resource": "nothings"}, {"verb": "list", "resource": "pods", "tool": "bash"},
     {"command": "get pods; id"}, {"command": "apply -f -"}, {"command": 7}, {"command": "apply -f x.yaml"}],
)  # fmt: skip
async def test_check_access_refuses_what_it_cannot_answer(service: Service, arguments: dict[str, Any]) -> None:
    async with asyncio.timeout(20), service.client() as client:
        result = await client.call_tool("check_access", arguments)

    assert result.is_error
    assert fields_of(result)["status"] == "refused"
    assert service.executor.pipelines == []


async def test_the_resource_sums_up_what_the_caller_has(service: Service) -> None:
    async with asyncio.timeout(20), service.client() as client:
        uri = (await client.list_resources()).resources[0].uri
        content = (await client.read_resource(uri)).contents[0]

    assert getattr(content, "text", "").splitlines() == [
        "Cluster: test",
        "You: system:serviceaccount:team-a-agents:alice",
        "readers: kubectl",
        "+ get list: pods in team-a",
        "Limits: 60 s, 100000 bytes of output",
    ]


async def test_prompts_are_those_of_the_caller_s_clis(service: Service) -> None:
    async with asyncio.timeout(20), service.client() as client:
        names = [prompt.name for prompt in (await client.list_prompts()).prompts]
    async with asyncio.timeout(20), service.client(as_="bob") as client:
        none = (await client.list_prompts()).prompts
        with pytest.raises(MCPError, match="no prompt"):
            await client.get_prompt("k8s_troubleshoot", {})

    assert len(names) == 7
    assert "k8s_troubleshoot" in names
    assert none == []


async def test_a_prompt_is_filled_in_with_the_caller_s_namespace(service: Service) -> None:
    async with asyncio.timeout(20), service.client() as client:
        prompt = await client.get_prompt("k8s_logs_analysis", {"pod_name": "web-0"})

    content = prompt.messages[0].content
    assert content.type == "text"
    assert "`kubectl logs web-0 -n team-a --all-containers --tail=100`" in content.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "pod_name"),
        ({"pod_name": "x; id"}, "pod_name"),
        ({"pod_name": "-A"}, "pod_name"),
        ({"pod_name": "x", "namespace": "a b"}, "namespace"),
        ({"pod_name": "x", "other": "y"}, "other"),
    ],
)
async def test_a_prompt_s_argument_that_cannot_be_used_is_an_error(
    service: Service, arguments: dict[str, str], said: str
) -> None:
    async with asyncio.timeout(20), service.client() as client:
        with pytest.raises(MCPError, match=said):
            await client.get_prompt("k8s_logs_analysis", arguments)


@pytest.mark.parametrize(
    ("as_", "argument", "begun", "values"),
    [
        ("alice", "namespace", "", ["team-a"]),
        ("alice", "namespace", "x", []),
        ("alice", "resource_type", "p", ["pods"]),
        ("alice", "pod_name", "", []),
        ("bob", "namespace", "", []),
        ("bob", "resource_type", "", []),
    ],
)
async def test_completion_tells_what_the_caller_s_rules_are_about(
    service: Service, as_: str, argument: str, begun: str, values: list[str]
) -> None:
    async with asyncio.timeout(20), service.client(as_=as_) as client:
        reference = PromptReference(type="ref/prompt", name="k8s_resource_status")
        result = await client.complete(reference, {"name": argument, "value": begun})

    assert result.completion.values == values


async def test_completion_goes_by_the_rules_for_the_prompt_s_cli() -> None:
    rule = {"namespaces": ["team-a"], "apiGroups": ["helm.sh"], "resources": ["releases"], "verbs": ["list"]}
    completed = {}
    async with serving(clis=tuple(Tool)) as service:
        service.store.set(policy("releases", "alice", tools=["helm"], rules=[rule]))
        async with asyncio.timeout(20), service.client() as client:
            for prompt in ("k8s_resource_status", "helm_chart_management", "argocd_application", "unknown"):
                reference = PromptReference(type="ref/prompt", name=prompt)
                result = await client.complete(reference, {"name": "namespace", "value": ""})
                completed[prompt] = result.completion.values

    assert completed == {
        "k8s_resource_status": [],
        "helm_chart_management": ["team-a"],
        "argocd_application": [],
        "unknown": [],
    }


async def test_without_the_edge_nobody_is_served() -> None:
    grants = Grants(
        store=FakeStore(),
        discovery=FakeDiscovery(),
        environment=Environment(),
        defaults=Limits(),
        max_timeout=60,
        now=lambda: datetime(2026, 6, 1, tzinfo=UTC),
    )
    server = AgentServer([], prompts=Prompts(grants=grants, served=[]), grants=grants, cluster="test", version="1")

    with pytest.raises(NotAuthenticatedError):
        await server.list_tools()
    with pytest.raises(NotAuthenticatedError):
        await server.call_tool("check_access", {})
    with pytest.raises(NotAuthenticatedError):
        await server.list_prompts()
    with pytest.raises(NotAuthenticatedError):
        await server.read_resource("k8s-mcp://access")


async def test_the_server_names_its_cluster(service: Service) -> None:
    async with asyncio.timeout(20), service.client() as client:
        assert client.server_info is not None
        assert client.server_info.title == "Kubernetes cluster test"
        assert "check_access" in (client.instructions or "")
