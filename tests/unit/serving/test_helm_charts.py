"""Where charts come from, what helm is told of it, and the cache that it leaves."""

from __future__ import annotations

import base64
import json
import os
import shlex
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.commands.helm.words import read_helm
from k8s_mcp_server.errors import CommandDenied, CommandRefused, Unavailable
from k8s_mcp_server.policy.egress import ChartRepository
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.helm import cache
from k8s_mcp_server.serving.helm.cache import HelmCache, stale_indexes
from k8s_mcp_server.serving.helm.charts import Sources, chart_access, find_sources
from tests.support.asking import AGENT, context, policy, rule

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

SPEC = {
    "tools": ["helm"],
    "charts": {
        "repositories": [
            {"name": "acme", "url": "https://charts.example.com/stable", "secretRef": {"name": "acme"}},
            {"name": "free", "url": "https://free.example.com"},
            {"name": "registry", "url": "oci://registry.example.com:5000/charts", "secretRef": {"name": "registry"}},
        ]
    },
}
CHARTS = "oci://registry.example.com:5000/charts"
FILES = ("chart/Chart.yaml",)


def sources(line: str) -> Sources | None:
    asked = context([policy("p", rule("get"), **SPEC)], tool=Tool.HELM)
    return find_sources(read_helm(shlex.split(line)), files=FILES, context=asked)


@pytest.mark.parametrize(
    ("line", "written", "names"),
    [
        ("install web acme/web", "install -- web acme/web", ["acme"]),
        ("install web acme/web --version 1.0.0", "install --version=1.0.0 -- web acme/web", ["acme"]),
        ("upgrade web web --repo https://charts.example.com/stable/", "upgrade -- web acme/web", ["acme"]),
        ("show values web --repo https://free.example.com", "show values -- free/web", ["free"]),
        ("template registry/web", "template -- oci://registry.example.com:5000/charts/web", ["registry"]),
        (f"pull {CHARTS}/a/b", f"pull -- {CHARTS}/a/b", ["registry"]),
        ("pull acme/a free/b", "pull -- acme/a free/b", ["acme", "free"]),
        ("show chart https://free.example.com/a.tgz", "show chart -- https://free.example.com/a.tgz", ["free"]),
        ("show chart oci://registry.example.com:5000/other", "show chart -- oci://registry.example.com:5000/other", []),
        ("search repo web", "search repo -- web", ["acme", "free"]),
    ],
)  # fmt: skip
def test_a_chart_is_found_where_the_policy_says(line: str, written: str, names: list[str]) -> None:
    found = sources(line)
    assert found is not None
    assert " ".join(found.command.words()) == written
    assert [each.name for each in (*found.repositories, *found.registries)] == names


@pytest.mark.parametrize(
    "line", ["install web ./chart", "list", "show chart chart", "lint ./chart", "install --help", "version"]
)
def test_a_command_without_chart_hosts_gets_nothing(line: str) -> None:
    assert sources(line) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("install web other/web", "no policy names a repository 'other'"),
        ("install web web --repo https://charts.example.com", "no policy names the repository"),
        ("install web web --repo https://charts.example.com/stable/../x", "no policy names the repository"),
        ("install web web --repo oci://registry.example.com:5000/charts", "no policy names the repository"),
        ("install web ./chart --repo https://other.example.com", "no policy names the repository"),
        ("show chart https://u:p@free.example.com/a.tgz", "a user in it"),
        ("show chart https://free.example.com:8443/a.tgz", "may not connect to"),
        ("show chart https://free.example.com:x/a.tgz", "cannot be read"),
        ("show chart oci://other.example.com/a", "may not connect to"),
    ],
)
def test_any_other_chart_is_denied_and_what_there_is_is_told(line: str, said: str) -> None:
    with pytest.raises(CommandDenied) as denial:
        sources(line)
    assert said in denial.value.message.lower() or said in denial.value.message
    assert "acme (https://charts.example.com/stable)" in denial.value.hint


def test_a_chart_s_own_url_has_no_credentials() -> None:
    with pytest.raises(CommandRefused, match="only for charts by their names"):
        sources("show chart https://charts.example.com/stable/a.tgz")


class Secrets:
    """Secrets as the API server has them."""

    def __init__(self, **fields: Any) -> None:
        data = {"username": "ann", "password": "s3cret"}
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.body = {"type": "kubernetes.io/basic-auth", "data": encoded, **fields}
        self.asked: list[str] = []

    async def read(self, name: str) -> dict[str, Any]:
        self.asked.append(name)
        return self.body


ACME = ChartRepository(name="acme", url="https://charts.example.com", secret="acme")
FREE = ChartRepository(name="free", url="https://free.example.com")
REGISTRY = ChartRepository(name="registry", url="oci://registry.example.com:5000/charts", secret="registry")


async def test_helm_gets_credentials_for_each_host_and_passes_them_to_no_other(tmp_path: Path) -> None:
    secrets = Secrets()
    wanted = Sources(command=read_helm(["version"]), repositories=(ACME, FREE), registries=(REGISTRY,))
    access = await chart_access(wanted, secrets=secrets, authorities=b"pem", cache=tmp_path)

    acme, free = json.loads(access.repositories)["repositories"]
    assert (acme["username"], acme["password"], acme["pass_credentials_all"]) == ("ann", "s3cret", False)
    assert "password" not in free
    (auth,) = json.loads(access.registries)["auths"].items()
    assert auth == ("registry.example.com:5000", {"auth": base64.b64encode(b"ann:s3cret").decode()})
    assert secrets.asked == ["acme", "registry"]
    assert "s3cret" not in repr(access)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"type": "Opaque"}, id="another type"),
        pytest.param({"type": "kubernetes.io/service-account-token"}, id="a token"),
        pytest.param({"data": {"username": "YQ=="}}, id="no password"),
        pytest.param({"data": {"username": "YQ==", "password": "%"}}, id="no base64"),
        pytest.param({"data": None}, id="no data"),
    ],
)
async def test_only_a_secret_made_for_it_is_a_credential(tmp_path: Path, fields: dict[str, Any]) -> None:
    wanted = Sources(command=read_helm(["version"]), repositories=(ACME,))
    with pytest.raises(Unavailable, match=r"kubernetes\.io/basic-auth"):
        await chart_access(wanted, secrets=Secrets(**fields), authorities=b"", cache=tmp_path)


def test_each_client_has_a_cache_of_its_own_and_it_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_BYTES", 1000)
    caches = HelmCache(tmp_path)
    folder = caches.folder(AGENT)
    for number in range(5):
        path = folder / "content" / str(number)
        path.write_bytes(bytes(400))
        os.utime(path, (number, number))
    (folder / "content" / "link").symlink_to("/etc/passwd")

    assert caches.folder(AGENT) == folder
    assert sorted(path.name for path in (folder / "content").iterdir()) == ["3", "4"]
    assert caches.folder(Client(username="other")) != folder


def test_the_clients_who_were_here_longest_ago_lose_their_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MOST_CLIENTS", 2)
    caches, made = HelmCache(tmp_path), []
    for number, name in enumerate("abc"):
        made.append(caches.folder(Client(username=name)))
        os.utime(made[-1], (number, number))
    assert [path.exists() for path in made] == [False, True, True]
    caches.clear()
    assert not any(path.exists() for path in made)
    caches.clear()


def test_whose_commands_run_keeps_its_cache_however_many_others_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MOST_CLIENTS", 2)
    caches = HelmCache(tmp_path)
    mine = caches.folder(AGENT)
    os.utime(mine, (0, 0))
    others = [caches.folder(Client(username=name), running=frozenset({AGENT.username, name})) for name in "abc"]
    assert mine.exists()
    assert [path.exists() for path in others] == [False, True, True]
    caches.folder(Client(username="d"), running=frozenset({"d"}))
    assert not mine.exists()


def test_a_cache_is_given_while_other_commands_of_its_client_write_to_it(tmp_path: Path) -> None:
    caches = HelmCache(tmp_path)
    written, done = caches.folder(AGENT) / "content", threading.Event()

    def write() -> None:
        """As helm does: a file of another name, which is then moved into its place."""
        while not done.is_set():
            (written / "new").write_bytes(b"x")
            (written / "new").rename(written / "chart")

    with ThreadPoolExecutor(5) as threads:
        writing = threads.submit(write)
        given = [threads.submit(caches.folder, AGENT) for _ in range(600)]
        try:
            assert all(each.result(timeout=60).name for each in given)
        finally:
            done.set()
        writing.result(timeout=60)


def test_an_index_is_fetched_again_after_five_minutes(tmp_path: Path) -> None:
    folder = HelmCache(tmp_path).folder(AGENT)
    path = folder / "repository" / "acme-index.yaml"
    assert stale_indexes(folder, ("acme",), now=1000) == ("acme",)
    path.write_bytes(b"")
    os.utime(path, (1000, 1000))
    assert stale_indexes(folder, ("acme", "free"), now=1200) == ("free",)
    assert stale_indexes(folder, ("acme",), now=1301) == ("acme",)
