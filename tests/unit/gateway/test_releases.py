"""Helm's storage requests: what is no release is never written, read or deleted by the right to releases."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.gateway.helm.records import (
    LARGEST_HOOKS,
    LONGEST_METADATA,
    MOST_FIELDS,
)
from k8s_mcp_server.gateway.helm.unfinished import MOST_BEGUN
from k8s_mcp_server.policy.tools import Tool
from tests.support.fake_upstream import Reply
from tests.support.gateway_bench import AGENT, allow, cut_to, deny
from tests.support.raw_http import request
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.session import CommandSession
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.request import RequestInfo
    from tests.support.fake_upstream import Received
    from tests.support.gateway_bench import Bench
    from tests.support.raw_http import RawResponse

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

SECRETS = "/api/v1/namespaces/team-a/secrets"
NAME = "sh.helm.release.v1.web.v1"
SECOND = "sh.helm.release.v1.web.v2"
HIDDEN = "hunter2"


def record(**fields: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "version": 1,
        "namespace": "team-a",
        "info": {"status": "deployed", "description": "Install complete", "notes": f"pw {HIDDEN}"},
        "config": {"password": HIDDEN},
        "manifest": f"password: {HIDDEN}",
        "chart": {"metadata": {"name": "web", "version": "1.0.0", "annotations": {"x": HIDDEN}}, "values": {}},
        "hooks": [{"name": "t", "events": ["test"], "manifest": HIDDEN}, {"name": HIDDEN, "events": ["pre-install"]}],
        **fields,
    }


def packed(document: Any) -> str:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.b64encode(base64.b64encode(gzip.compress(text))).decode()


def secret(**changes: Any) -> dict[str, Any]:
    labels = {"name": "web", "owner": "helm", "status": "deployed", "version": "1", **changes.pop("labels", {})}
    metadata = {"name": NAME, "labels": labels, **changes.pop("metadata", {})}
    data = {"release": packed(changes.pop("record", record()))}
    body = {"kind": "Secret", "apiVersion": "v1", "type": "helm.sh/release.v1", "metadata": metadata, "data": data}
    return {**body, **changes}


def stored(**changes: Any) -> dict[str, Any]:
    body = secret(**changes)
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": HIDDEN}
    body["metadata"] |= {"namespace": "team-a", "uid": "u", "resourceVersion": "7", "annotations": annotations}
    return body


def only_releases(info: RequestInfo) -> Decision:
    return allow() if info.api_group == "helm.sh" or info.resource == "configmaps" else deny(f"no {info.resource}")


def only_metadata(info: RequestInfo) -> Decision:
    return deny(f"no {info.full_resource}") if info.subresource == "content" else only_releases(info)


def _constant(reply: Reply, _: Received) -> Reply:
    return reply


@pytest.fixture
def helm(bench: Bench) -> CommandSession:
    bench.authorizer.rule = only_releases
    return bench.gateway.open(client=AGENT, tool=Tool.HELM, command_id="cmd-helm")


async def send(bench: Bench, helm: CommandSession, method: str, target: str, body: Any = None) -> RawResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = {} if body is None else {"body": data}
    return await bench.ask(method, target, token=helm.token, **more)


FORGED = {
    "another type": secret(type="Opaque"),
    "a name that is not Helm's": secret(metadata={"name": "sh.helm.release.v1.web"}),
    "a name of another release": secret(metadata={"name": "sh.helm.release.v1.other.v1"}),
    "a name of another revision": secret(metadata={"name": SECOND}),
    "another namespace": secret(metadata={"namespace": "team-b"}),
    "a record of another namespace": secret(record=record(namespace="team-b")),
    "a record without a status": secret(record=record(info={})),
    "an owner that is not helm": secret(labels={"owner": "me"}),
    "a label of another release": secret(labels={"name": "other"}),
    "a label of another status": secret(labels={"status": "failed"}),
    "a time that is none": secret(labels={"createdAt": "now"}),
    "more data": {**secret(), "data": {**secret()["data"], "token": "eA=="}},
    "other data": {**secret(), "data": {"token": "eA=="}},
    "no data": {**secret(), "data": {}},
    "plain data": {**secret(), "stringData": {"token": "x"}},
    "annotations": secret(metadata={"annotations": {"a": "b"}}),
    "an owner reference": secret(metadata={"ownerReferences": [{"kind": "Pod", "name": "x", "uid": "u"}]}),
    "finalizers": secret(metadata={"finalizers": ["a/b"]}),
    "a generated name": secret(metadata={"generateName": "x"}),
    "immutable": secret(immutable=True),
    "data that is no record": {**secret(), "data": {"release": base64.b64encode(b"x").decode()}},
    "a field twice": secret(record=json.dumps(record())[:-1].encode() + b', "NAME": "other"}'),
}


@pytest.mark.parametrize("body", FORGED.values(), ids=FORGED.keys())
async def test_what_is_no_release_is_not_created(bench: Bench, helm: CommandSession, body: dict[str, Any]) -> None:
    answer = await send(bench, helm, "POST", SECRETS, body)
    assert answer.status == 403
    assert bench.upstream.requests == []


async def test_a_release_is_created_in_our_own_words(bench: Bench, helm: CommandSession) -> None:
    bench.upstream.respond = lambda _: Reply(status=201)
    answer = await send(bench, helm, "POST", SECRETS, secret())
    assert answer.status == 201
    (received,) = bench.upstream.requests
    sent = json.loads(received.body)
    assert received.header("content-type") == "application/json"
    assert (sent["type"], sent["metadata"]["name"], set(sent["data"])) == ("helm.sh/release.v1", NAME, {"release"})
    assert json.loads(gzip.decompress(base64.b64decode(base64.b64decode(sent["data"]["release"])))) == record()


@pytest.mark.parametrize("dry", ["secrets", "releases"])
async def test_a_release_is_a_dry_run_where_a_dry_run_gives_it_in_any_way(
    bench: Bench, helm: CommandSession, dry: str
) -> None:
    bench.authorizer.rule = lambda info: replace(allow(), dry_run=info.resource == dry)
    bench.upstream.respond = lambda _: Reply(status=201)
    assert (await send(bench, helm, "POST", SECRETS, secret())).status == 201
    assert [received.target for received in bench.upstream.requests] == [f"{SECRETS}?dryRun=All"]
    assert (helm.dry_runs, helm.writes) == (1, 0)


async def test_nothing_is_written_by_a_policy_that_goes_while_another_way_is_looked_at(
    bench: Bench, helm: CommandSession
) -> None:
    bench.authorizer.rule = lambda info: deny() if len(bench.authorizer.asked) > 1 else allow()
    assert (await send(bench, helm, "POST", SECRETS, secret())).status == 403
    assert bench.upstream.requests == []


async def test_a_release_updated_under_another_s_name_is_refused(bench: Bench, helm: CommandSession) -> None:
    answer = await send(bench, helm, "PUT", f"{SECRETS}/{SECOND}", secret())
    assert (answer.status, bench.upstream.requests) == (403, [])


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        pytest.param("PATCH", f"{SECRETS}/{NAME}", {"metadata": {"labels": {"a": "b"}}}, id="a patch"),
        pytest.param("DELETE", SECRETS, None, id="deletecollection"),
        pytest.param("GET", SECRETS, None, id="a list of Secrets"),
        pytest.param("GET", f"{SECRETS}?labelSelector=owner%21%3Dhelm", None, id="a list of others"),
        pytest.param("GET", f"{SECRETS}?labelSelector=owner+in+%28helm%2Cother%29", None, id="a list of more"),
        pytest.param("GET", f"{SECRETS}?labelSelector=owner%3Dhelm&watch=true", None, id="a watch"),
        pytest.param("GET", f"{SECRETS}?labelSelector=owner%3Dhelm&fieldSelector=type%3DOpaque", None, id="a type"),
        pytest.param("GET", f"{SECRETS}/password", None, id="another Secret"),
        pytest.param("DELETE", f"{SECRETS}/password", None, id="deleting another Secret"),
        pytest.param("POST", SECRETS, {"kind": "Secret", "apiVersion": "v1"}, id="a Secret without a type"),
        pytest.param("POST", SECRETS, b"k8s\0", id="a body that cannot be read"),
    ],
)
async def test_the_right_to_releases_gives_nothing_else_of_secrets(
    bench: Bench, helm: CommandSession, method: str, target: str, body: Any
) -> None:
    answer = await send(bench, helm, method, target, body)
    assert (answer.status, bench.upstream.requests) == (403, [])


async def test_kubectl_gets_no_secret_by_the_right_to_releases(bench: Bench) -> None:
    bench.authorizer.rule = only_releases
    for target in (f"{SECRETS}/{NAME}", f"{SECRETS}?labelSelector=owner%3Dhelm"):
        assert (await bench.ask("GET", target)).status == 403
    assert bench.upstream.requests == []


async def test_a_list_asks_for_releases_only_whatever_helm_asks(bench: Bench, helm: CommandSession) -> None:
    await send(bench, helm, "GET", f"{SECRETS}?labelSelector=name%3Dweb%2Cowner%3Dhelm&limit=1&continue=")
    (received,) = bench.upstream.requests
    selectors = "labelSelector=name%3Dweb%2Cowner%3Dhelm&fieldSelector=type%3Dhelm.sh%2Frelease.v1"
    assert received.target == f"{SECRETS}?{selectors}"
    assert received.header("accept") == "application/json"


IMPOSTORS = {
    "another type": stored(type="Opaque"),
    "another name": stored(metadata={"name": "password"}),
    "a record of another release": stored(record=record(name="other")),
    "a record of another namespace": stored(record=record(namespace="team-b")),
    "no record": {**stored(), "data": {"release": base64.b64encode(HIDDEN.encode()).decode()}},
    "no data": {**stored(), "data": {}},
}


@pytest.mark.parametrize("item", IMPOSTORS.values(), ids=IMPOSTORS.keys())
async def test_what_is_no_release_is_neither_listed_nor_read_nor_deleted(
    bench: Bench, helm: CommandSession, item: dict[str, Any]
) -> None:
    body = {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": [item, stored()]}

    def respond(received: Received) -> Reply:
        return Reply(parts=json.dumps(body if "labelSelector" in received.target else item).encode())

    bench.upstream.respond = respond
    listed = await send(bench, helm, "GET", f"{SECRETS}?labelSelector=owner%3Dhelm")
    assert len(json.loads(listed.body)["items"]) == 1
    assert (await send(bench, helm, "GET", f"{SECRETS}/{NAME}")).status == 404
    assert (await send(bench, helm, "DELETE", f"{SECRETS}/{NAME}")).status == 404
    assert {received.method for received in bench.upstream.requests} == {"GET"}


async def test_a_release_is_deleted_as_it_was_seen(bench: Bench, helm: CommandSession) -> None:
    bench.upstream.respond = lambda _: Reply(parts=json.dumps(stored()).encode())
    answer = await send(bench, helm, "DELETE", f"{SECRETS}/{NAME}")
    assert (answer.status, json.loads(answer.body)["kind"]) == (200, "Status")
    options = json.loads(bench.upstream.requests[-1].body)
    assert options["preconditions"] == {"uid": "u", "resourceVersion": "7"}


async def test_metadata_holds_nothing_of_the_content(bench: Bench, helm: CommandSession) -> None:
    bench.authorizer.rule = only_metadata
    failed = record(info={"status": "failed", "description": f"Release failed: Invalid value: {HIDDEN}"})
    for item in (stored(), stored(record=failed, labels={"status": "failed"})):
        reply = Reply(parts=json.dumps(item).encode())
        bench.upstream.respond = partial(_constant, reply)
        answer = await send(bench, helm, "GET", f"{SECRETS}/{NAME}")
        body = json.loads(answer.body)
        data = gzip.decompress(base64.b64decode(base64.b64decode(body["data"]["release"])))
        assert HIDDEN.encode() not in data + answer.body
        assert json.loads(data)["chart"]["metadata"] == {"name": "web", "version": "1.0.0"}
        assert [hook["name"] for hook in json.loads(data)["hooks"]] == ["t"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"chart": "a text"}, id="a chart that is none"),
        pytest.param({"chart": {"metadata": {f"x{number}": 1 for number in range(MOST_FIELDS + 1)}}}, id="many fields"),
        pytest.param({"hooks": [1]}, id="a hook that is none"),
    ],
)
async def test_a_release_that_somebody_spoiled_hides_no_other_from_who_sees_metadata(
    bench: Bench, helm: CommandSession, changes: dict[str, Any]
) -> None:
    bench.authorizer.rule = only_metadata
    items = [stored(record=record(**changes)), stored()]
    body = {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": items}
    bench.upstream.respond = lambda _: Reply(parts=json.dumps(body).encode())
    listed = await send(bench, helm, "GET", f"{SECRETS}?labelSelector=owner%3Dhelm")
    assert len(json.loads(listed.body)["items"]) == 1


async def test_metadata_is_short_whatever_the_record_holds(bench: Bench, helm: CommandSession) -> None:
    bench.authorizer.rule = only_metadata
    long = "x" * (LONGEST_METADATA + 1)
    hook = {"name": long, "events": ["test"]}
    for hooks, told in (([hook], 1), ([{**hook, "manifest": "x" * LARGEST_HOOKS}], 0)):
        large = record(chart={"metadata": {"name": "web", "version": long}}, hooks=hooks, apply_method=long)
        bench.upstream.respond = partial(_constant, Reply(parts=json.dumps(stored(record=large)).encode()))
        body = json.loads((await send(bench, helm, "GET", f"{SECRETS}/{NAME}")).body)
        data = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(body["data"]["release"]))))
        assert (data["chart"]["metadata"], "apply_method" in data) == ({"name": "web"}, False)
        assert data["hooks"] == [{"events": ["test"]}] * told


async def test_a_command_writes_one_release_after_the_other(bench: Bench, helm: CommandSession) -> None:
    arrived, answered = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def slowly(_: Received) -> Reply:
        arrived.release()
        await answered.acquire()
        return Reply(status=201)

    bench.upstream.respond = slowly
    body = json.dumps(secret()).encode()
    clients = [await bench.connect() for _ in range(2)]
    async with asyncio.timeout(10):
        for client in clients:
            await client.send(request("POST", SECRETS, token=helm.token, body=body))
        await arrived.acquire()
        await eventually(lambda: helm.held_bytes == 2 * len(body))
        assert len(bench.upstream.requests) == 1
        answered.release()
        await arrived.acquire()
        answered.release()
        assert [(await client.response()).status for client in clients] == [201, 201]


async def test_of_operations_that_helm_never_has_under_way_at_once_only_the_last_are_ended(
    bench: Bench, helm: CommandSession
) -> None:
    begun: dict[str, bytes] = {}

    def respond(received: Received) -> Reply:
        if received.method == "POST":
            name = json.loads(received.body)["metadata"]["name"]
            begun[name] = received.body
            return Reply(status=201)
        document = json.loads(begun[received.target.rpartition("/")[2]])
        return Reply(parts=json.dumps(document).encode())

    bench.upstream.respond = respond
    for number in range(MOST_BEGUN + 3):
        name = f"web{number}"
        labels = {"name": name, "status": "pending-install"}
        pending = record(name=name, info={"status": "pending-install"})
        body = secret(metadata={"name": f"sh.helm.release.v1.{name}.v1"}, labels=labels, record=pending)
        assert (await send(bench, helm, "POST", SECRETS, body)).status == 201
    await bench.gateway.close_session(helm)
    ended = [json.loads(received.body) for received in bench.upstream.requests if received.method == "PUT"]
    assert [each["metadata"]["labels"]["name"] for each in ended] == [
        f"web{3 + number}" for number in range(MOST_BEGUN)
    ]
    assert {each["metadata"]["labels"]["status"] for each in ended} == {"failed"}


async def test_whole_records_come_without_anything_else_of_the_secret(bench: Bench, helm: CommandSession) -> None:
    bench.upstream.respond = lambda _: Reply(parts=json.dumps(stored()).encode())
    body = json.loads((await send(bench, helm, "GET", f"{SECRETS}/{NAME}")).body)
    assert body["data"] == stored()["data"]
    assert "annotations" not in body["metadata"]


async def test_each_release_of_a_wide_list_is_shown_as_far_as_its_namespace_allows(
    bench: Bench, helm: CommandSession
) -> None:
    def rule(info: RequestInfo) -> Decision:
        if info.api_group != "helm.sh":
            return deny()
        return cut_to("team-a") if info.subresource else cut_to("team-a", "team-b")

    bench.authorizer.rule = rule
    items = []
    for namespace in ("team-a", "team-b", "team-c"):
        item = stored(record=record(namespace=namespace))
        item["metadata"]["namespace"] = namespace
        items.append(item)
    body = {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": items}
    bench.upstream.respond = lambda _: Reply(parts=json.dumps(body).encode())
    answer = await send(bench, helm, "GET", "/api/v1/secrets?labelSelector=owner%3Dhelm")
    seen = {}
    for item in json.loads(answer.body)["items"]:
        data = gzip.decompress(base64.b64decode(base64.b64decode(item["data"]["release"])))
        seen[item["metadata"]["namespace"]] = HIDDEN.encode() in data
    assert seen == {"team-a": True, "team-b": False}
    assert helm.requests_filtered == 1


async def test_a_later_revision_is_written_only_by_who_may_read_the_content(bench: Bench, helm: CommandSession) -> None:
    bench.authorizer.rule = only_metadata
    second = secret(metadata={"name": SECOND}, record=record(version=2), labels={"version": "2"})
    assert (await send(bench, helm, "POST", SECRETS, second)).status == 403
    assert (await send(bench, helm, "PUT", f"{SECRETS}/{NAME}", secret())).status == 403
    assert (await send(bench, helm, "DELETE", f"{SECRETS}/{NAME}")).status == 403
    assert bench.upstream.requests == []
    bench.upstream.respond = lambda _: Reply(status=201)
    assert (await send(bench, helm, "POST", SECRETS, secret())).status == 201
