"""`python -m devtools.manifests`: every kustomization builds, fits Kubernetes' schemas, and is clean for the scanner.

Schemas: of the Kubernetes releases that the tests run on, the pinned and the oldest (kubernetes-validate). Scanner:
checkov; what it would object to and why that stays is an annotation `checkov.io/skip` of the object itself.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from devtools.manifests.kustomizations import ROOT, kustomizations
from devtools.toolchain import ensure_tools
from devtools.toolchain.gomod import required_version

_SCANNERS = ROOT / ".venv-scan" / "bin"
_SECONDS = 300
# Kinds that Kubernetes itself has no schema for; the API server of the integration tests has, from their CRDs.
_OTHER_GROUPS = ("k8s-mcp.io/", "monitoring.coreos.com/", "cert-manager.io/")


def main() -> int:
    """Check all of them; the exit code is 1 when any is not clean."""
    kubectl = ensure_tools(["kubectl"])["kubectl"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        problems = []
        for each in kustomizations():
            try:
                text = each.build(kubectl=kubectl)
            except subprocess.CalledProcessError as error:
                problems.append(f"{each.name}: {error.stderr}")
                continue
            (folder / _file_name(each.name)).write_text(text, encoding="utf-8")
            print(f"kustomize {each.name}: ok")
        for release in _releases():
            problems += _run("schemas of Kubernetes " + release, *_validate(folder, release=release))
        problems += _run("checkov", *_scan(folder), cwd=folder)
    print(*problems, sep="\n", file=sys.stderr)
    return 1 if problems else 0


def _releases() -> tuple[str, ...]:
    """The pinned release and the oldest, as `1.37`."""
    versions = [
        required_version(ROOT / "tools" / module / "go.mod", "k8s.io/kubernetes")
        for module in ("kubernetes", "kubernetes-oldest")
    ]
    return tuple(".".join(version.removeprefix("v").split(".")[:2]) for version in versions)


def _validate(folder: Path, *, release: str) -> list[str]:
    """The command that checks the objects of Kubernetes' own kinds, without what a schema does not know."""
    own = folder / "own"
    own.mkdir(exist_ok=True)
    for path in folder.glob("*.yaml"):
        documents = [
            body
            for body in yaml.safe_load_all(path.read_text(encoding="utf-8"))
            if not body["apiVersion"].startswith(_OTHER_GROUPS)
        ]
        (own / path.name).write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    files = [str(path) for path in sorted(own.glob("*.yaml"))]
    return [str(_SCANNERS / "kubernetes-validate"), "--strict", "--quiet", "--kubernetes-version", release, *files]


def _file_name(name: str) -> str:
    return "root.yaml" if name == "." else f"{re.sub('[^a-z-]+', '_', name)}.yaml"


def _scan(folder: Path) -> list[str]:
    """The command that looks for weak settings, in all but the demo, whose workloads run on simulated nodes."""
    names = sorted(path.name for path in folder.glob("*.yaml") if path.name != _file_name("examples/demo"))
    files = [word for name in names for word in ("--file", name)]
    return [str(_SCANNERS / "checkov"), "--framework=kubernetes", "--compact", "--quiet", "--skip-download", *files]


def _run(what: str, *command: str, cwd: Path | None = None) -> list[str]:
    """What the command objects to; nothing when it left with 0."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode == 0:
        print(f"{what}: ok")
        return []
    return [f"{what}: {done.stdout}{done.stderr}"]


if __name__ == "__main__":
    sys.exit(main())
