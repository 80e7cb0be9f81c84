"""Instances of Argo CD, from the settings to what the gateway calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.backends import argocd_instances
from k8s_mcp_server.errors import ConfigurationError
from k8s_mcp_server.gateway.tls import server_context
from k8s_mcp_server.settings import load_settings
from k8s_mcp_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path

    from k8s_mcp_server.gateway.argocd.instance import ArgoCD

pytestmark = pytest.mark.unit


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "ca.crt").write_text(server_context()[1])
    (tmp_path / "token").write_text("eyJ0eXAi")
    return {"ca_file": str(tmp_path / "ca.crt"), "token_file": str(tmp_path / "token")}


def read(tmp_path: Path, *instances: dict[str, Any]) -> dict[str, ArgoCD]:
    config = tmp_path / "config.yaml"
    config.write_text(f"argocd_instances: {[dict(each) for each in instances]}")
    return argocd_instances(load_settings(config), metrics=Metrics())


def test_the_first_is_not_qualified_and_the_others_are(tmp_path: Path, files: dict[str, str]) -> None:
    found = read(
        tmp_path,
        {"name": "main", "url": "https://argocd-server.argocd.svc", **files},
        {"name": "prod", "url": "https://argo.example.com:8443/argo/", "namespace": "gitops", **files},
    )
    assert list(found) == ["main", "prod"]
    assert (found["main"].qualifier, found["main"].namespace) == ("", "argocd")
    assert (found["prod"].qualifier, found["prod"].namespace) == ("prod", "gitops")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"url": "http://argocd-server"}, "url", id="plain HTTP"),
        pytest.param({"url": "https://:443"}, "`url` has no host", id="no host"),
        pytest.param({"url": "https://argo:99999"}, "`url`", id="no port"),
        pytest.param({"name": "Main"}, "name", id="a name in capitals"),
        pytest.param({"token": "x"}, "argocd_instances", id="a key that there is not"),
        pytest.param({"ca_file": "/nonexistent"}, "`ca_file` /nonexistent", id="no CA"),
        pytest.param({"token_file": "/nonexistent"}, "`token_file` /nonexistent", id="no token"),
        pytest.param({"token_file": "token"}, "absolute path", id="a relative path"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_key(
    tmp_path: Path, files: dict[str, str], change: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, {"name": "main", "url": "https://argocd-server", **files, **change})
    assert told in str(refused.value)


def test_each_has_a_name_of_its_own(tmp_path: Path, files: dict[str, str]) -> None:
    instance = {"name": "main", "url": "https://argocd-server", **files}
    with pytest.raises(ConfigurationError, match="a name of its own"):
        read(tmp_path, instance, instance)
