"""The image's bill of materials."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from devtools.image import bill

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

_PACKAGES = "opt/k8s-mcp-server/lib/python3.13/site-packages"
_STATUS = """\
Package: jq
Status: install ok installed
Architecture: amd64
Version: 1.7.1-6

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0
"""
_BUILT: dict[str, Any] = {
    "GoVersion": "go1.26.8",
    "Main": {"Path": "helm.sh/helm/v4", "Version": "v4.3.1"},
    "Deps": [
        {"Path": "k8s.io/api", "Version": "v0.37.0", "Replace": {"Path": "k8s.io/api", "Version": "v0.37.2"}},
        {"Path": "gopkg.in/yaml.v3", "Version": "v3.0.1"},
    ],
}


def test_it_has_what_each_package_manager_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "var/lib/dpkg/status": _STATUS,
        f"{_PACKAGES}/kopf-1.45.0.dist-info/METADATA": "Name: kopf\nVersion: 1.45.0\n",
        "usr/local/bin/helm": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(bill, "build_info", {tmp_path / "usr/local/bin/helm": _BUILT}.__getitem__)

    text = bill.bill_of_materials(tmp_path, name="example.com/it:1.0")

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    assert document["metadata"]["component"]["name"] == "example.com/it"
    assert {each["purl"] for each in document["components"]} == {
        "pkg:deb/debian/jq@1.7.1-6?arch=amd64&distro=trixie",
        "pkg:pypi/kopf@1.45.0",
        "pkg:golang/stdlib@1.26.8",
        "pkg:golang/helm.sh/helm/v4@v4.3.1",
        "pkg:golang/k8s.io/api@v0.37.2",
        "pkg:golang/gopkg.in/yaml.v3@v3.0.1",
    }
