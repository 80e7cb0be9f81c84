"""Nothing but the hosts that a policy names is reached, whatever a command, a chart, a repository or a host says."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devtools.charts import ChartHost, Page
from tests.e2e.helm.conftest import HOST, LOOPBACK, PASSWORD, HelmAgent, Site, index, pack

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.e2e

MARK = "hidden-from-others"
CHART = "apiVersion: v2\nname: evil\nversion: 1.0.0\n"


def _lines(site: Site) -> list[str]:
    """Command lines that mean another host, another way to it, or another one's credentials."""
    url, other, port = site.repository.url, site.elsewhere, site.repository.port
    chart = "web-1.0.0.tgz"
    return [
        # another host or port, by every way that a chart can be named
        f"show chart {other.url}/{chart}", f"template t {other.url}/{chart}", f"install t {other.url}/{chart}",
        f"pull {other.url}/{chart}", f"show chart web --repo {other.url}", f"template t web --repo {other.url}",
        f"upgrade --install t web --repo {other.url}", "show chart https://charts.example.com/x.tgz",
        "show chart oci://registry.example.com/charts/web", f"show chart oci://{HOST}:{other.port}/charts/web",
        f"show chart oci://{HOST}:1/charts/web", f"show chart https://{HOST}/{chart}",
        # what is at the host's addresses, and the API server
        f"show chart https://127.0.0.1:{port}/{chart}", f"show chart https://localhost:{port}/{chart}",
        f"show chart https://[::1]:{port}/{chart}", f"show chart https://2130706433:{port}/{chart}",
        "show chart https://169.254.169.254/latest/x.tgz", "show chart https://metadata.google.internal/x.tgz",
        f"show chart https://127.0.0.1:{site.cluster.port}/x.tgz", "show chart https://kubernetes.default.svc/x.tgz",
        f"show chart https://{HOST}:{site.cluster.port}/x.tgz", f"show chart https://{HOST}:{site.service.port}/x.tgz",
        # URLs that read in two ways
        f"show chart https://{HOST}:{port}@{HOST}:{other.port}/{chart}", f"show chart https://acme:x@{HOST}:{port}/{chart}",
        f"show chart {url}@{HOST}:{other.port}/{chart}", f"show chart https://{HOST}.:{port}/{chart}",
        f"show chart https://{HOST}:{port}#@{HOST}:{other.port}/{chart}", f"show chart https://{HOST}:0{other.port}/{chart}",
        f"show chart http://{HOST}:{other.port}/{chart}", f"show chart HTTPS://{HOST}:{other.port}/{chart}",
        f"show chart https:{HOST}:{other.port}/{chart}", f"show chart //{HOST}:{other.port}/{chart}",
        "show chart file:///etc/passwd", f"show chart ftp://{HOST}:{other.port}/{chart}",
        # repositories that no policy names, and names that are paths
        "show chart stable/web", "show chart ../web/chart", "show chart acme/../../etc", "show chart /etc/passwd",
        "search repo other/web", "search hub web", "repo add x https://charts.example.com", "repo update", "repo list",
        "registry login registry.example.com -u a -p b", f"push {chart} {site.registry.url}", "dependency update .",
        # flags that change whom helm trusts, where it goes, or who hears the password
        "show chart acme/web --insecure-skip-tls-verify", "show chart acme/web --ca-file /etc/ssl/certs/ca.crt",
        f"show chart {site.registry.url}/pushed --plain-http", "show chart acme/web --pass-credentials",
        "show chart acme/web --username a --password b", "show chart acme/web --cert-file a --key-file b",
        "show chart acme/web --repository-config x", "show chart acme/web --repository-cache /tmp",
        "show chart acme/web --registry-config x", "show chart acme/web --content-cache /tmp",
        "pull acme/web --untardir /tmp", "pull acme/web --destination /tmp", "pull acme/web -d ..",
        "pull acme/web --prov",
        "show chart acme/web --verify --keyring /etc/passwd", "install t acme/web --dependency-update",
        # what the repository's index says
        "show chart acme/far", "template t acme/far", "install t acme/far", "pull acme/far",
        "show chart acme/redirected", "template t acme/redirected", "install t acme/redirected",
        "show chart acme/metadata", "install t acme/metadata",
    ]  # fmt: skip


def test_no_line_reaches_a_host_that_the_policy_does_not_name(site: Site, new_agent: Callable[..., HelmAgent]) -> None:
    agent = new_agent()
    agent.helm("search repo")
    site.elsewhere.seen.clear()
    before = len(site.connections())
    named = {f"{HOST}:{site.repository.port}", f"{HOST}:{site.registry.port}"}

    lines = _lines(site)
    answers = {line: agent.helm(line) for line in lines}

    assert len(lines) >= 60
    assert [line for line, answer in answers.items() if answer.status == "succeeded"] == ["search repo other/web"]
    assert site.elsewhere.seen == []
    made = [line for line in site.connections()[before:] if line["status"] == 200]
    assert {line["target"] for line in made} <= named
    assert not site.cluster.kubectl("get", "secrets", "-n", site.namespace, "-o", "name").stdout


def test_a_host_that_is_named_is_followed_to_and_hears_no_password(
    site: Site, new_agent: Callable[..., HelmAgent]
) -> None:
    host = site.elsewhere.url.removeprefix("https://")
    agent = new_agent(egress={**site.egress()["egress"], "hosts": [host]})
    site.elsewhere.seen.clear()
    assert agent.helm("show chart acme/far").status == "succeeded"
    assert site.elsewhere.seen == [("/web-1.0.0.tgz", "")]
    assert agent.helm("show chart acme/redirected").status == "succeeded"


@pytest.mark.parametrize("is_named", [False, True])
def test_a_registry_s_token_server_hears_the_password_only_where_the_policy_names_it(
    site: Site, new_agent: Callable[..., HelmAgent], *, is_named: bool
) -> None:
    other = site.elsewhere
    with ChartHost(site.repository.authority, HOST) as registry:
        registry.pages["/v2/charts/web/manifests/1.0.0"] = Page(token_server=f"{other.url}/token")
        url = f"oci://{HOST}:{registry.port}/charts"
        agent = new_agent(
            charts={"repositories": [{"name": "guarded", "url": url, "secretRef": {"name": "acme-charts"}}]},
            egress={"privateCIDRs": LOOPBACK, "hosts": [f"{HOST}:{other.port}"] if is_named else []},
        )
        other.seen.clear()
        answer = agent.helm("show chart guarded/web --version 1.0.0")
        asked = [path for path, _ in registry.seen]
    heard = [base64.b64decode(given.removeprefix("Basic ")).decode() for _, given in other.seen]
    assert "/v2/charts/web/manifests/1.0.0" in asked, answer
    assert answer.status == ("failed" if is_named else "denied"), answer
    assert heard == ([f"acme:{PASSWORD}"] if is_named else [])
    assert PASSWORD not in answer.everything


@pytest.mark.parametrize("private", [[], ["10.0.0.0/8"], ["127.0.0.2/32"]])
def test_an_address_that_is_not_public_must_be_named(
    site: Site, new_agent: Callable[..., HelmAgent], private: list[str]
) -> None:
    site.repository.seen.clear()
    agent = new_agent(egress={"privateCIDRs": private})
    answer = agent.helm("search repo")
    assert (answer.status, "out of reach" in answer.text) == ("denied", True), answer
    assert site.repository.seen == []


def test_the_api_server_and_the_service_are_out_of_reach_even_when_they_are_named(
    site: Site, new_agent: Callable[..., HelmAgent]
) -> None:
    hosts = [f"{HOST}:{site.cluster.port}"]
    agent = new_agent(egress={"privateCIDRs": ["127.0.0.0/8"], "hosts": hosts})
    answer = agent.helm(f"show chart https://{hosts[0]}/api/v1/x.tgz")
    assert "this is the API server or the service itself" in answer.text, answer


def test_what_a_policy_says_counts_for_its_own_commands_only(site: Site, new_agent: Callable[..., HelmAgent]) -> None:
    agent = new_agent(charts={"repositories": []}, egress={})
    new_agent()
    for line in ("search repo", "show chart acme/web", f"show chart web --repo {site.repository.url}"):
        assert agent.helm(line).status == "denied", line


def test_what_one_client_has_fetched_no_other_has(
    site: Site, new_agent: Callable[..., HelmAgent], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both call their repository by one name, and the other's index claims to have a chart of the same content.

    helm takes a chart whose digest it knows from its cache, and asks nobody (pkg/downloader/chart_downloader.go).
    """
    packed = pack(tmp_path, "private", **{"values.yaml": f"a: {MARK}\n"}).read_bytes()
    entry: dict[str, Any] = {"apiVersion": "v2", "name": "private", "version": "1.0.0", "urls": ["private.tgz"]}
    entry["digest"] = hashlib.sha256(packed).hexdigest()
    monkeypatch.setitem(site.repository.pages, "/index.yaml", _one(entry, description=MARK))
    monkeypatch.setitem(site.repository.pages, "/private.tgz", Page(packed))
    monkeypatch.setitem(site.elsewhere.pages, "/index.yaml", _one(entry, description="of the other"))
    owner = new_agent()
    other = new_agent(charts={"repositories": [{"name": "acme", "url": site.elsewhere.url}]})
    assert MARK in owner.helm("show values acme/private").stdout

    monkeypatch.delitem(site.repository.pages, "/private.tgz")
    site.elsewhere.seen.clear()
    lines = ["show values", "show all", "pull", "template t", "install t", "upgrade --install t"]
    answers = {line: other.helm(f"{line} acme/private") for line in lines}
    searched = other.helm("search repo")

    assert [line for line, answer in answers.items() if answer.status == "succeeded"] == []
    assert [line for line, answer in answers.items() if MARK in answer.everything] == []
    assert ("of the other" in searched.stdout, MARK in searched.everything) == (True, False)
    assert {path for path, _ in site.elsewhere.seen} == {"/index.yaml", "/private.tgz"}
    assert {given for _, given in site.elsewhere.seen} == {""}
    assert MARK in owner.helm("show values acme/private").stdout  # still in its own cache
    assert MARK in owner.helm("search repo").stdout


def _one(entry: dict[str, Any], *, description: str) -> Page:
    """An index of one chart."""
    entries = {"private": [{**entry, "description": description}]}
    return Page(json.dumps({"apiVersion": "v1", "entries": entries}).encode())


def test_a_dependency_on_another_repository_is_not_fetched(site: Site, new_agent: Callable[..., HelmAgent]) -> None:
    agent = new_agent()
    site.elsewhere.seen.clear()
    dependency = f"dependencies: [{{name: web, version: 1.0.0, repository: '{site.elsewhere.url}'}}]\n"
    files = {"chart/Chart.yaml": CHART + dependency, "chart/templates/a.yaml": "# nothing\n"}
    for line in ("install t ./chart", "template t ./chart", "upgrade --install t ./chart"):
        assert agent.helm(line, files=files).status == "failed", line
    assert site.elsewhere.seen == []


def _tar(members: dict[str, bytes], *, link: str = "") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo("evil/templates/link.yaml")
            member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member)
    return data.getvalue()


def _bomb() -> bytes:
    """A chart of half a GiB that takes half a MiB."""
    head = _tar({"evil/Chart.yaml": CHART.encode()})
    info = tarfile.TarInfo("evil/templates/big.yaml")
    info.size = 512 * 1024 * 1024
    raw = gzip.decompress(head)[:1024] + info.tobuf()
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as packed:
        packed.write(raw)
        for _ in range(512):
            packed.write(bytes(1024 * 1024))
    return out.getvalue()


ABSOLUTE = Path(tempfile.gettempdir(), f"outside-{uuid.uuid4().hex}.txt")
EVIL = {
    "outside": _tar({"evil/Chart.yaml": CHART.encode(), "../../outside.txt": b"x", "evil/../../outside.txt": b"x"}),
    "absolute": _tar({"evil/Chart.yaml": CHART.encode(), "/tmp/absolute-outside.txt": b"x"}),
    "link": _tar({"evil/Chart.yaml": CHART.encode()}, link="/etc/passwd"),
    "bomb": _bomb(),
    "no-archive": b"\x1f\x8b\x08not a chart",
    "endless": _tar({"evil/Chart.yaml": CHART.encode(), "evil/a": bytes(40 * 1024 * 1024)}) + bytes(1024),
}


@pytest.mark.parametrize("name", [*EVIL, "slow", "huge"])
def test_a_chart_that_is_not_one_harms_nobody(site: Site, new_agent: Callable[..., HelmAgent], name: str) -> None:
    agent = new_agent()
    body = bytes(80 * 1024 * 1024) if name == "huge" else EVIL.get(name, b"")
    site.repository.pages["/evil.tgz"] = Page(body, trickles=name == "slow")
    site.repository.pages["/index.yaml"] = Page(index(("web", "web-1.0.0.tgz"), ("evil", "evil.tgz")))

    for line in ("pull acme/evil", "template t acme/evil", "install t acme/evil"):
        answer = agent.helm(line, timeout=8)
        said = answer.everything
        assert "root:x:0:0" not in said, line
        assert all(file.startswith("evil/") for file in answer.fields.get("files", {})), line
        assert not ABSOLUTE.exists()
        assert answer.status != "succeeded" or name in {"link", "outside", "absolute", "endless"}, (line, answer.text)
        assert answer.fields.get("duration_seconds", 0) < 20
    assert agent.helm("show chart acme/web").status == "succeeded"
