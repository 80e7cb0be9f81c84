from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from k8s_mcp_server.cluster.client import Answer, ApiClient, ApiStatusError
from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.cluster.connections import base_url
from k8s_mcp_server.errors import Unavailable
from tests.support.fake_apiserver import FakeApiServer, Running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Odd(FakeApiServer):
    """Answers with what it is told, and remembers the headers it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: web.Response | None = None
        self.headers: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        return self.answer or web.json_response({})


@pytest.fixture
async def odd(tmp_path: Path) -> AsyncIterator[tuple[Odd, Running]]:
    state = Odd()
    server = Running(state, tmp_path)
    await server.open()
    yield state, server
    await server.close()


async def test_each_request_carries_the_token_of_the_moment(odd: tuple[Odd, Running]) -> None:
    state, server = odd
    async with ApiClient.connect(server.api_server) as client:
        await client.request("GET", "/version")
        server.token_file.write_text("second-token", encoding="ascii")
        await client.request("GET", "/version")

    assert [headers["Authorization"] for headers in state.headers] == ["Bearer first-token", "Bearer second-token"]


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        pytest.param(web.json_response({"message": "no"}, status=403), 403, "403: no", id="a Status"),
        pytest.param(web.Response(text="404 page not found\n", status=404), 404, "404: 404 page not found", id="text"),
        pytest.param(web.Response(body=b"\xff" * 900, status=500), 500, "500: ", id="bytes"),
        pytest.param(web.Response(status=302, headers={"Location": "/elsewhere"}), 302, "302: ", id="a redirect"),
    ],
)
async def test_an_answer_that_is_no_success_is_an_error_with_its_status(
    odd: tuple[Odd, Running], answer: web.Response, code: int, text: str
) -> None:
    state, server = odd
    state.answer = answer
    async with ApiClient.connect(server.api_server) as client:
        with pytest.raises(ApiStatusError) as caught:
            await client.request("GET", "/version")

    assert caught.value.status == code
    assert text in str(caught.value)
    assert len(str(caught.value)) < 400
    assert len(state.headers) == 1, "a redirect is not followed: the token goes nowhere else"


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"\xff"])
def test_an_answer_that_is_no_object_is_unavailable(body: bytes) -> None:
    with pytest.raises(Unavailable):
        Answer(status=200, body=body, headers={}).json()


async def test_a_server_with_another_ca_is_not_talked_to(odd: tuple[Odd, Running], tmp_path: Path) -> None:
    state, server = odd
    other = tmp_path / "other"
    other.mkdir()
    stranger = Running(FakeApiServer(), other)
    trusted = ApiServer(
        host="127.0.0.1", port=server.api_server.port, ca_file=other / "ca.crt", token_file=stranger.token_file
    )
    async with ApiClient.connect(trusted) as client:
        with pytest.raises(Unavailable):
            await client.request("GET", "/version")

    assert not state.headers


async def test_without_a_token_nothing_is_asked(odd: tuple[Odd, Running]) -> None:
    state, server = odd
    server.token_file.unlink()
    async with ApiClient.connect(server.api_server) as client:
        with pytest.raises(Unavailable):
            await client.request("GET", "/version")

    assert not state.headers


@pytest.mark.parametrize(
    ("host", "url"),
    [
        pytest.param("10.0.0.1", "https://10.0.0.1:443", id="IPv4"),
        pytest.param("fd00::1", "https://[fd00::1]:443", id="IPv6"),
        pytest.param("kubernetes.default.svc", "https://kubernetes.default.svc:443", id="name"),
    ],
)
def test_addresses_become_urls(host: str, url: str, tmp_path: Path) -> None:
    assert base_url(ApiServer(host=host, port=443, ca_file=tmp_path, token_file=tmp_path)) == url
