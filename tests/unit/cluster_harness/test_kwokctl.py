"""The configuration that kwokctl gets."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from devtools.cluster import kwokctl
from devtools.cluster.ports import free_ports

pytestmark = pytest.mark.unit

BINARIES = {name: Path("/tools") / name for name in kwokctl.COMPONENTS}


def documents(*, exec_on_host: bool = False) -> list[dict[str, Any]]:
    text = kwokctl.configuration(
        binaries=BINARIES,
        ports=range(1, 7),
        audit_policy=Path("/w/audit.yaml"),
        log_file=Path("/w/container.log"),
        exec_on_host=exec_on_host,
    )
    return list(yaml.safe_load_all(text))


def test_everything_is_bound_to_the_loopback_address() -> None:
    assert documents()[0]["options"]["bindAddress"] == "127.0.0.1"


def test_every_binary_is_named_so_that_nothing_is_downloaded() -> None:
    options = documents()[0]["options"]
    named = {value for key, value in options.items() if key.endswith("Binary")}
    assert named == {f"/tools/{name}" for name in kwokctl.COMPONENTS if name != "kwokctl"}


def test_every_port_is_given_so_that_two_starts_never_pick_the_same() -> None:
    options = documents()[0]["options"]
    assert sorted(value for key, value in options.items() if key.endswith("Port")) == [1, 2, 3, 4, 5, 6]


def test_logs_attach_and_port_forward_are_answered() -> None:
    kinds = [document["kind"] for document in documents()[1:]]
    assert kinds == ["ClusterLogs", "ClusterAttach", "ClusterPortForward"]


def test_exec_is_answered_only_on_request() -> None:
    assert "ClusterExec" in [document["kind"] for document in documents(exec_on_host=True)]
    assert "ClusterExec" not in [document["kind"] for document in documents()]


def test_every_request_is_audited_once_when_it_is_answered() -> None:
    policy = yaml.safe_load(kwokctl.audit_policy())
    assert policy["rules"] == [{"level": "Metadata"}]
    assert policy["omitStages"] == ["RequestReceived"]


def test_free_ports_are_different_and_can_be_listened_on() -> None:
    ports = free_ports(6)
    assert len(set(ports)) == 6
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_port_that_is_listened_on_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        monkeypatch.setattr("devtools.cluster.ports._RANGE", [taken])
        with pytest.raises(Exception, match="no 1 free ports"):
            free_ports(1)
