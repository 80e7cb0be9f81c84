"""Which kubeconfigs are refused, and what is said; a script stands in for kubectl where the real one would succeed."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.errors import ConfigurationError
from k8s_mcp_server.execution.service_account import BorrowedAccount, Kubeconfig

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

_CA = base64.b64encode(b"a certificate").decode()
_CLUSTER = {"server": "https://192.0.2.1:6443", "certificate-authority-data": _CA}


def _kubectl(folder: Path, *, cluster: dict[str, Any], create: str = "printf t0ken") -> Path:
    """A program that knows one cluster, and does that for a token."""
    script = folder / "kubectl"
    script.write_text(
        f"#!/bin/sh\ncase \"$*\" in *\"config view\"*) printf '%s' '{json.dumps(cluster)}';; *) {create};; esac\n",
        encoding="ascii",
    )
    script.chmod(0o755)
    return script


def _borrow(folder: Path, kubectl: Path) -> BorrowedAccount:
    return BorrowedAccount(
        Kubeconfig(kubectl=kubectl, file=folder / "kubeconfig"), namespace="k8s-mcp-system", name="it", folder=folder
    )


def test_the_files_are_those_of_a_pod_and_private(tmp_path: Path) -> None:
    account = _borrow(tmp_path, _kubectl(tmp_path, cluster=_CLUSTER))
    assert (account.host, account.port) == ("192.0.2.1", 6443)
    assert account.ca_file.read_bytes() == b"a certificate"
    assert account.token_file.read_text() == "t0ken"
    assert account.token_file.stat().st_mode & 0o777 == 0o600


def test_a_renewal_that_fails_leaves_the_token_as_it_was(tmp_path: Path) -> None:
    account = _borrow(tmp_path, _kubectl(tmp_path, cluster=_CLUSTER))
    _kubectl(tmp_path, cluster=_CLUSTER, create="echo Unauthorized >&2; exit 1")
    with pytest.raises(ConfigurationError, match="Unauthorized"):
        account.renew()
    assert account.token_file.read_text() == "t0ken"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"insecure-skip-tls-verify": True}, "`insecure-skip-tls-verify` is not supported", id="insecure"),
        pytest.param({"proxy-url": "http://192.0.2.2"}, "`proxy-url` is not supported", id="a proxy"),
        pytest.param({"tls-server-name": "other"}, "`tls-server-name` is not supported", id="another name"),
        pytest.param({"server": "http://192.0.2.1"}, "`server` must be https", id="plain HTTP"),
        pytest.param({"server": "https://192.0.2.1/k8s/c-1"}, "`server` must be https", id="a path"),
        pytest.param({"certificate-authority-data": None}, "no certificate authority", id="no CA"),
    ],
)
def test_a_cluster_that_cannot_be_reached_safely_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    cluster = {key: value for key, value in {**_CLUSTER, **change}.items() if value is not None}
    with pytest.raises(ConfigurationError, match=said):
        _borrow(tmp_path, _kubectl(tmp_path, cluster=cluster))


def test_who_may_make_no_token_is_told_what_kubectl_said(tmp_path: Path) -> None:
    said = 'error: failed to create token: serviceaccounts "it" is forbidden'
    with pytest.raises(ConfigurationError, match=r"serviceaccounts .* is forbidden"):
        _borrow(tmp_path, _kubectl(tmp_path, cluster=_CLUSTER, create=f"echo '{said}' >&2; exit 1"))


def test_without_kubectl_the_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set `tools_dir`"):
        _borrow(tmp_path, tmp_path / "absent")
