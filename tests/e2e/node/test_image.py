"""The image: what it says of itself, and what it is without some of the CLIs."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
from packageurl import PackageURL

from devtools.image import build_image
from devtools.image.build import CLIS
from devtools.image.buildah import Buildah
from devtools.toolchain import ensure_tools
from tests.e2e.node.site import IMAGE, NAME, NAMESPACE, READER
from tests.support.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.node.site import Site

pytestmark = pytest.mark.e2e

_ONE: Final = "kubectl-only"
_LABELS: Final = ("title", "description", "licenses", "version")


@pytest.fixture(scope="module")
def one_cli(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Pod of the service whose image has kubectl and no other CLI."""
    name = f"{IMAGE.rpartition(':')[0]}:{_ONE}"
    built = build_image(name, archive=tmp_path_factory.mktemp(_ONE) / "image.tar", clis=["kubectl"])
    site.node.import_image(built.archive)

    def change(spec: dict[str, Any]) -> None:
        spec["containers"][0]["image"] = name

    with site.beside(_ONE, change) as address:
        yield address


def test_it_is_for_a_numeric_user_and_says_what_it_is(image: Path) -> None:
    del image
    config = Buildah().configuration(IMAGE)
    assert config["User"] == "65532:65532"
    assert all(config["Labels"][f"org.opencontainers.image.{name}"] for name in _LABELS)
    assert config["Labels"]["org.opencontainers.image.title"] == NAME


def test_a_cli_that_was_left_out_is_not_offered(one_cli: str, agent_factory: Callable[..., Agent]) -> None:
    agent = agent_factory({**READER, "tools": ["kubectl", "helm"]})
    assert "execute_helm" in agent.tools()
    here = Agent(f"http://{one_cli}:8080/mcp", agent.token, host=agent.host)
    assert {name for name in here.tools() if name.startswith("execute_")} == {"execute_kubectl"}
    assert here.kubectl("version --client").status == "succeeded"
    assert "execute_helm" in here.call("execute_helm", {"command": "version"}).text


def test_no_module_of_the_image_is_compiled_at_a_start(image: Path) -> None:
    """All files of the image bear one time: a compiled module that is checked by its source's would be thrown away."""
    del image
    with Buildah().mounted(IMAGE) as root:
        sources = [
            source
            for pattern in ("opt/k8s-mcp-server/lib/python3*/site-packages", "usr/lib/python3*")
            for folder in root.glob(pattern)
            for source in folder.rglob("*.py")
        ]
        assert sources
        stale = [str(source.relative_to(root)) for source in sources if not _is_valid_for_ever(source)]
    assert stale == []


_DISTRIBUTIONS: Final = """
import importlib.metadata
for each in importlib.metadata.distributions():
    print(each.name, each.version)
"""


def test_the_bill_of_materials_has_all_that_the_running_image_says_it_has(site: Site, image: Path) -> None:
    document = json.loads(image.with_suffix(".cdx.json").read_text(encoding="utf-8"))
    listed = [PackageURL.from_string(each["purl"]) for each in document["components"]]
    inside = ("exec", site.pods()[0]["metadata"]["name"], f"--namespace={NAMESPACE}", "--")
    python = site.node.kubectl(*inside, "/opt/k8s-mcp-server/bin/python", "-c", _DISTRIBUTIONS).stdout
    packages = site.node.kubectl(*inside, "dpkg-query", "--show", "--showformat=${Package} ${Version}\\n").stdout
    for kind, said in (("pypi", python), ("deb", packages)):
        assert said
        # As purls spell a name of PyPI: https://github.com/package-url/purl-spec, types/pypi
        wanted = {line.lower().replace("_", "-") if kind == "pypi" else line for line in said.splitlines()}
        assert {f"{each.name} {each.version}" for each in listed if each.type == kind} == wanted
    names = {
        f"{'/'.join(filter(None, (each.namespace, each.name)))} {each.version}"
        for each in listed
        if each.type == "golang"
    }
    modules = {module for tool in ensure_tools([*CLIS, "yq"]).values() for module in _modules(tool)}
    assert len(modules) > 100
    assert modules <= names


def test_jq_is_new_enough_for_what_agents_write(image: Path) -> None:
    document = json.loads(image.with_suffix(".cdx.json").read_text(encoding="utf-8"))
    (version,) = (each["version"] for each in document["components"] if each["name"] == "jq")
    assert tuple(map(int, re.findall(r"\d+", version)[:2])) >= (1, 7)


def _modules(binary: Path) -> set[str]:
    """The Go modules in a binary, with their versions, as `go version -m` lists them for people."""
    done = subprocess.run(["go", "version", "-m", str(binary)], capture_output=True, text=True, check=True)
    found: list[str] = []
    for kind, name, version in re.findall(r"^\t(mod|dep|=>)\t(\S+)\t(\S+)", done.stdout, re.MULTILINE):
        if kind == "=>":
            found.pop()
        found.append(f"{name} {version}")
    return set(found)


def _is_valid_for_ever(source: Path) -> bool:
    """Whether its compiled module is there and is not checked against it (PEP 552: the flags are 1)."""
    compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
    return compiled.exists() and compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00"
