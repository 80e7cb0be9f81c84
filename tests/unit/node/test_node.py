"""What a node is told, and what a machine must be to run one."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from devtools.node import machine
from devtools.node.components import TOOLS, components, files
from devtools.node.layout import Layout
from devtools.node.pki import Authority
from devtools.toolchain.catalog import catalog

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit


def _layout(root: Path, *, slot: int = 0) -> Layout:
    return Layout(slot=slot, root=root, tools=root / "bin", cni=root / "cni", runc=root / "runc")


def test_the_node_runs_the_kubernetes_of_its_control_plane() -> None:
    tools = catalog()
    assert tools["kubelet"].version == tools["kube-proxy"].version == tools["kube-apiserver"].version


def test_every_component_is_a_tool_of_the_catalog(tmp_path: Path) -> None:
    assert {component.name for component in components(_layout(tmp_path))} <= set(TOOLS) <= set(catalog())


def test_every_file_that_a_component_is_told_of_is_written(tmp_path: Path) -> None:
    layout = _layout(tmp_path)
    words = [word for component in components(layout) for word in component.arguments()]
    folder = f"{layout.configuration}/"
    named = {word.rpartition(folder)[2] for word in words if folder in word}
    assert named
    assert named <= set(files(layout))


def test_nodes_side_by_side_share_no_address_and_no_name(tmp_path: Path) -> None:
    one, other = _layout(tmp_path), _layout(tmp_path, slot=1)
    values = [(each.network, each.address, each.name, each.server_url) for each in (one, other)]
    assert not set(values[0]) & set(values[1])


def test_a_layout_is_read_as_it_was_written(tmp_path: Path) -> None:
    layout = _layout(tmp_path, slot=3)
    assert Layout.read(layout.write()) == layout


def test_the_api_servers_certificate_names_its_addresses_and_its_key_is_private(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    authority.issue("server", common_name="server", organization="people", hosts=["10.0.0.1", "kubernetes"])
    certificate = x509.load_pem_x509_certificate((tmp_path / "pki/server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes"]
    assert (tmp_path / "pki/server.key").stat().st_mode & 0o777 == 0o600
    authority.write_kubeconfig(tmp_path / "kubeconfig", server="https://10.0.0.1", identity="server")
    assert (tmp_path / "kubeconfig").stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / "kubeconfig").read_text())["current-context"] == "node"


def test_who_is_not_root_is_told_that_a_node_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert machine.why_impossible() == "a node needs root (namespaces, mounts, cgroups), and this is another user"


def test_a_command_that_is_not_there_is_a_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_command", lambda name: None if name == "runc" else "/usr/bin/it")
    monkeypatch.setattr(machine, "cni_folder", lambda: None)
    assert {"runc", "containernetworking-plugins"} <= set(machine.missing_packages())
    assert "buildah" not in machine.missing_packages()
