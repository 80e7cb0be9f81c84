"""Requests of a command with a plan: decided by the right that the plan names, read, or answered with nothing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from k8s_mcp_server.gateway.plan import CommandPlan, Opening
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.patterns import Names
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.virtual import ISTIOCTL_GROUP, istioctl_right
from tests.support.fake_upstream import Reply
from tests.support.gateway_bench import Bench, allow, cut_to, deny
from tests.support.raw_http import RawClient, request
from tests.support.spdy import SpdyClient, data, websocket

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

POD = "/api/v1/namespaces/shop/pods/cart"
SECRETS = "/api/v1/secrets"
DUMP = "GET /config_dump"
SAID = b"GET /config_dump HTTP/1.1\r\nHost: localhost:40123\r\nUser-Agent: Go-http-client/1.1\r\n\r\n"
RIGHT = istioctl_right("get", "proxyconfigs", namespace="shop")
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: abc",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Extensions: permessage-deflate",
)
TUNNEL = (*UPGRADE, "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io")
CATALOG = Catalog([ApiResource(group="", resource="secrets", kind="Secret", scope=Scope.NAMESPACED)])


def opening(resource: str = "pods", verbs: str = "get", **more: object) -> Opening:
    fields = {"verbs": frozenset(verbs.split()), "group": "", "resource": resource, "namespace": "shop", "right": RIGHT}
    return Opening(**{**fields, **more})  # type: ignore[arg-type]  # the tests name fields as they like


FORWARD = opening("pods/portforward", "create", right_is_by_name=True, ports={15000: frozenset({DUMP})})


def only_virtual(info: RequestInfo) -> Decision:
    return allow() if info.api_group == ISTIOCTL_GROUP else deny()


async def test_a_planned_request_is_decided_by_its_right_and_forwarded_as_it_is(bench: Bench) -> None:
    bench.session.plan = CommandPlan(openings=(opening(right_is_by_name=True),))
    bench.authorizer.rule = only_virtual
    answer = await bench.ask("GET", POD)
    assert answer.status == 200
    assert bench.authorizer.asked == [(replace(RIGHT, name="cart"),)]
    [received] = bench.upstream.requests
    assert received.target == POD
    [record] = await bench.recorded(1)
    assert record.request is not None
    assert (record.request.resource, record.decision.verdict) == ("pods", Verdict.EXACT)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/api/v1/namespaces/bank/pods/cart", id="another namespace"),
        pytest.param("/api/v1/pods", id="all namespaces"),
        pytest.param("/api/v1/namespaces/shop/pods/other", id="another name"),
        pytest.param("/api/v1/namespaces/shop/pods", id="another verb"),
        pytest.param("/api/v1/namespaces/shop/pods/cart/log", id="another subresource"),
        pytest.param("/api/v1/namespaces/shop/services/cart", id="another resource"),
        pytest.param("/apis/metrics.k8s.io/v1/namespaces/shop/pods/cart", id="another group"),
    ],
)
async def test_what_the_plan_does_not_mention_goes_by_the_ordinary_rules(bench: Bench, target: str) -> None:
    bench.session.plan = CommandPlan(openings=(opening(names=Names.of(["cart"])),))
    bench.authorizer.rule = only_virtual
    answer = await bench.ask("GET", target)
    assert answer.status == 403
    assert not bench.upstream.requests


async def test_a_list_is_planned_only_of_the_names_that_the_plan_has(bench: Bench) -> None:
    bench.session.plan = CommandPlan(openings=(opening(verbs="list", names=Names.of(["cart"])),))
    bench.authorizer.rule = only_virtual
    pods = "/api/v1/namespaces/shop/pods"
    assert (await bench.ask("GET", pods)).status == 403
    assert (await bench.ask("GET", f"{pods}?fieldSelector=metadata.name%3Dother")).status == 403
    assert not bench.upstream.requests
    assert (await bench.ask("GET", f"{pods}?fieldSelector=metadata.name%3Dcart")).status == 200


async def test_a_right_that_is_gone_denies(bench: Bench) -> None:
    bench.session.plan = CommandPlan(openings=(opening(),))
    bench.authorizer.rule = lambda info: deny() if info.api_group == ISTIOCTL_GROUP else allow()
    assert (await bench.ask("GET", POD)).status == 403


async def test_a_deny_of_the_request_itself_wins(bench: Bench) -> None:
    bench.session.plan = CommandPlan(openings=(opening(),))
    bench.authorizer.withholding = lambda info: deny("a deny") if info.resource == "pods" else None
    answer = await bench.ask("GET", POD)
    assert (answer.status, answer.json()["message"]) == (403, "a deny")


async def test_a_deny_that_comes_while_the_right_is_looked_up_wins(bench: Bench) -> None:
    bench.session.plan = CommandPlan(openings=(opening(),))
    bench.authorizer.withholding = lambda _: deny("a deny") if bench.authorizer.asked else None
    assert (await bench.ask("GET", POD)).status == 403
    assert not bench.upstream.requests


async def test_a_right_in_several_namespaces_cuts_nothing(bench: Bench) -> None:
    bench.session.plan = CommandPlan(openings=(opening(),))
    bench.authorizer.rule = lambda _: cut_to("shop")
    assert (await bench.ask("GET", POD)).status == 200


async def test_a_token_is_minted_for_the_planned_audience_only(bench: Bench) -> None:
    mint = opening("serviceaccounts/token", "create", audiences=frozenset({"istio-ca"}))
    bench.session.plan = CommandPlan(openings=(mint,))
    bench.authorizer.rule = only_virtual
    target = "/api/v1/namespaces/shop/serviceaccounts/default/token"
    for audiences, status in ((["istio-ca"], 200), (["istio-ca", "other"], 403), ([], 403), (["api"], 403)):
        body = json.dumps({"spec": {"audiences": audiences}}).encode()
        answer = await bench.ask("POST", target, body=body, headers=("Content-Type: application/json",))
        assert answer.status == status, audiences
    assert len(bench.upstream.requests) == 1


# Port-forwards


async def forwarded(bench: Bench, *said: bytes, headers: tuple[str, ...] = TUNNEL) -> tuple[int, RawClient]:
    """The status of a port-forward, and its connection, through which ``said`` was sent."""
    switched = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    bench.upstream.respond = lambda _: Reply(status=101, headers=switched, parts=b"")
    client = await bench.connect()
    await client.send(request("GET", f"{POD}/portforward", token=bench.session.token, headers=headers))
    status, _ = await client.head()
    for part in said:
        await client.send(part)
    return status, client


def through(said: bytes, *, port: int = 15000) -> bytes:
    client = SpdyClient()
    return websocket(client.pair(port) + data(client.stream, said))


async def test_a_planned_port_forward_carries_what_was_planned(bench: Bench) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.readexactly(len(frames)))
        writer.write(b"answer")
        await writer.drain()

    bench.session.plan = CommandPlan(openings=(FORWARD,))
    bench.authorizer.rule = only_virtual
    bench.upstream.spliced = listen
    frames = through(SAID)
    status, client = await forwarded(bench, frames)
    async with asyncio.timeout(10):
        assert (status, await heard, await client.reader.readexactly(6)) == (101, frames, b"answer")
    [received] = bench.upstream.requests
    assert received.header("sec-websocket-extensions") is None
    assert bench.authorizer.asked == [(replace(RIGHT, name="cart"),)]
    assert (bench.session.requests_allowed, bench.session.requests_denied, bench.session.writes) == (1, 0, 0)


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH"])
async def test_a_planned_port_forward_is_opened_and_nothing_else_is_done_to_it(bench: Bench, method: str) -> None:
    bench.session.plan = CommandPlan(openings=(FORWARD,))
    bench.authorizer.rule = only_virtual
    assert (await bench.ask(method, f"{POD}/portforward", headers=TUNNEL)).status == 403
    assert bench.upstream.requests == []


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        pytest.param(through(SAID.replace(b"config_dump", b"quitquitquit")), "not planned", id="another request"),
        pytest.param(through(b"POST /logging?level=trace HTTP/1.1\r\n"), "POST /logging?level=trace", id="a write"),
        pytest.param(through(SAID, port=8080), "port 8080", id="another port"),
    ],
)
async def test_a_planned_port_forward_carries_nothing_else(bench: Bench, frames: bytes, why: str) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            heard.append(part)

    bench.session.plan = CommandPlan(openings=(FORWARD,))
    bench.upstream.spliced = listen
    _, client = await forwarded(bench, frames)
    assert await client.is_closed()
    assert not heard
    [record] = await bench.recorded(1)
    assert (record.status, record.decision.verdict) == (101, Verdict.DENY)
    assert why in record.decision.message
    assert [why in denial for denial in bench.session.denials] == [True]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(UPGRADE, id="WebSocket without a protocol"),
        pytest.param((*UPGRADE, "Sec-WebSocket-Protocol: v4.channel.k8s.io"), id="another protocol"),
        pytest.param((*TUNNEL, "Sec-WebSocket-Protocol: v4.channel.k8s.io"), id="a choice of protocols"),
        pytest.param(("Connection: Upgrade", "Upgrade: h2c"), id="another upgrade"),
        pytest.param(("Connection: Upgrade", "Upgrade: SPDY/2"), id="an older SPDY"),
    ],
)
async def test_a_planned_port_forward_that_could_not_be_read_is_refused(bench: Bench, headers: tuple[str, ...]) -> None:
    bench.session.plan = CommandPlan(openings=(FORWARD,))
    status, _ = await forwarded(bench, headers=headers)
    assert status == 400
    assert not bench.upstream.requests


async def test_a_planned_port_forward_ends_with_its_right(bench: Bench) -> None:
    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    bench.session.plan = CommandPlan(openings=(FORWARD,))
    bench.upstream.spliced = listen
    _, client = await forwarded(bench)
    bench.gateway.revalidate()  # nothing changed
    bench.authorizer.withholding = lambda _: deny()
    bench.gateway.revalidate()
    assert await client.is_closed()
    assert bench.session.requests_revoked == 1


# Less than was asked for


async def test_a_denied_list_is_answered_with_nothing_where_the_command_may_see_less(bench: Bench) -> None:
    bench.session.plan = CommandPlan(may_see_less=True)
    bench.authorizer.catalog = CATALOG
    bench.authorizer.rule = lambda _: deny()
    answer = await bench.ask("GET", SECRETS)
    assert answer.status == 200
    assert answer.json() == {
        "kind": "SecretList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "1"},
        "items": [],
    }
    assert not bench.upstream.requests
    assert (list(bench.session.left_out), bench.session.requests_denied) == (["secrets"], 0)
    [record] = await bench.recorded(1)
    assert record.decision.verdict is Verdict.DENY


async def test_a_denied_watch_ends_its_initial_events_and_stays_open(bench: Bench) -> None:
    bench.session.plan = CommandPlan(may_see_less=True)
    bench.authorizer.catalog = CATALOG
    bench.authorizer.rule = lambda _: deny()
    client = await bench.connect()
    target = f"{SECRETS}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true"
    await client.send(request("GET", target, token=bench.session.token))
    status, _ = await client.head()
    event = json.loads(await client.chunk())
    assert (status, event["type"], event["object"]["kind"]) == (200, "BOOKMARK", "Secret")
    assert event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    await bench.gateway.close_session(bench.session)
    assert await client.is_closed()


async def test_metadata_alone_has_a_kind_of_its_own(bench: Bench) -> None:
    bench.session.plan = CommandPlan(may_see_less=True)
    bench.authorizer.rule = lambda _: deny()
    accept = "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    client = await bench.connect()
    plain = request("GET", SECRETS, token=bench.session.token).replace(b"Accept: application/json", accept.encode())
    await client.send(plain)
    answer = (await client.response()).json()
    assert (answer["kind"], answer["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")


@pytest.mark.parametrize("reason", [Reason.SNAPSHOT_STALE, Reason.BLOCKED, Reason.NO_POLICY, Reason.ERROR])
async def test_a_denial_of_everything_is_told(bench: Bench, reason: Reason) -> None:
    bench.session.plan = CommandPlan(may_see_less=True)
    bench.authorizer.rule = lambda _: replace(deny(), reason=reason)
    assert (await bench.ask("GET", SECRETS)).status == 403


@pytest.mark.parametrize(("method", "target"), [("GET", f"{POD}"), ("DELETE", SECRETS), ("POST", SECRETS)])
async def test_only_lists_and_watches_are_answered_with_nothing(bench: Bench, method: str, target: str) -> None:
    bench.session.plan = CommandPlan(may_see_less=True)
    bench.authorizer.rule = lambda _: deny()
    assert (await bench.ask(method, target)).status == 403


async def test_without_such_a_plan_a_denied_list_is_told(bench: Bench) -> None:
    bench.authorizer.rule = lambda _: deny()
    assert (await bench.ask("GET", SECRETS)).status == 403


async def test_what_the_service_itself_may_not_list_is_answered_with_nothing_too(bench: Bench) -> None:
    bench.session.plan = CommandPlan(may_see_less=True)
    bench.authorizer.catalog = CATALOG
    bench.upstream.respond = lambda _: Reply(status=403, parts=b'{"kind":"Status"}')
    assert (await bench.ask("GET", SECRETS)).json()["items"] == []
    assert list(bench.session.left_out) == ["secrets"]
    bench.session.plan = CommandPlan()
    assert (await bench.ask("GET", SECRETS)).status == 403


async def test_a_cut_list_is_named_where_findings_depend_on_it(bench: Bench) -> None:
    bench.session.plan = CommandPlan(may_see_less=True)
    bench.upstream.respond = lambda _: Reply(parts=b'{"kind":"SecretList","apiVersion":"v1","metadata":{},"items":[]}')
    bench.authorizer.rule = lambda _: cut_to("shop")
    assert (await bench.ask("GET", SECRETS)).status == 200
    assert list(bench.session.left_out) == ["objects outside of what you may see"]


async def test_what_a_plan_gives_nobody_is_answered_with_nothing_whoever_asks(bench: Bench) -> None:
    nothing = opening("secrets", "list watch", right=None, unseen="remote clusters")
    bench.session.plan = CommandPlan(openings=(nothing,))
    answer = await bench.ask("GET", "/api/v1/namespaces/shop/secrets")
    assert answer.json()["items"] == []
    assert not bench.upstream.requests
    assert list(bench.session.left_out) == ["remote clusters"]


def test_two_commands_under_one_token_have_both_plans() -> None:
    first = CommandPlan(rights=(RIGHT,), openings=(opening(),))
    both = first.and_(CommandPlan(openings=(FORWARD,), may_see_less=True))
    assert (both.rights, both.openings, both.may_see_less) == ((RIGHT,), (opening(), FORWARD), True)
