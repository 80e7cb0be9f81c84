"""Starts and stops Argo CD's processes, and gives what a client of it needs: an address, a CA and a token.

They run from links inside of the cluster's folder, so whoever removes the cluster, its guard too, ends them with it.
Everything listens on the loopback but the application controller's metrics, which have no address to choose.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from devtools.argocd.certificate import make_certificate
from devtools.argocd.objects import ACCOUNT, NAMESPACE, objects, project, repository
from devtools.cluster import ClusterError
from devtools.cluster.ports import free_ports
from devtools.toolchain import ensure_tools, source_folder

if TYPE_CHECKING:
    from devtools.cluster import KwokCluster

_READY_SECONDS = 60.0
_END_SECONDS = 10.0
_REQUEST_SECONDS = 20.0
_POLL_SECONDS = 0.1
_PASSWORD = "fixture-only"  # noqa: S105 - of a server that lives for one test run, on the loopback
_COMPONENTS = ("server", "repo-server", "application-controller")
_CRDS = ("application-crd.yaml", "appproject-crd.yaml", "applicationset-crd.yaml")
_SCRIPTS = ("git-verify-wrapper.sh", "gpg-wrapper.sh", "git-ask-pass.sh")


class ArgoCDControlPlane:
    """A running Argo CD; a context manager that always ends it.

    Args:
        cluster: whose applications it keeps.
        name: of its folder inside of the cluster's; one cluster can have one.
    """

    def __init__(self, cluster: KwokCluster, *, name: str = "argocd") -> None:
        self._cluster = cluster
        self._folder = cluster.workdir / name
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._redis_port, self._server_port, self._repo_port, *self._metrics_ports = free_ports(6)

    @property
    def url(self) -> str:
        """Of the server."""
        return f"https://127.0.0.1:{self._server_port}"

    @property
    def password(self) -> str:
        """Of the administrator, ``admin``."""
        return _PASSWORD

    @property
    def ca_file(self) -> Path:
        """What the server's certificate is verified with, PEM."""
        return self._folder / "server.crt"

    def start(self) -> Self:
        """Start everything and wait until the server answers.

        Raises:
            ClusterError: it does not, or something it needs is missing.
        """
        redis = shutil.which("redis-server")
        if redis is None or shutil.which("git") is None:
            raise ClusterError("Argo CD needs redis-server and git: apt-get install redis-server git")
        source = source_folder("argocd")
        self._link(Path(redis), scripts=source / "hack")
        self._install(source / "manifests" / "crds")
        try:
            self._start_processes()
            self._await_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the processes. May be called twice."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_END_SECONDS)
        self._processes.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def token(self) -> str:
        """A new token of the account that this service uses; its RBAC is in `objects`."""
        session = self.post("/api/v1/session", {"username": "admin", "password": _PASSWORD})["token"]
        made = self.post(f"/api/v1/account/{ACCOUNT}/token", {"name": ACCOUNT}, token=session)
        return str(made["token"])

    def add_project(self, name: str, **spec: Any) -> None:
        """Make an AppProject that allows everything, but for what ``spec`` says."""
        self._cluster.kubectl("apply", "--filename=-", input=json.dumps(project(name, **spec)))

    def add_repository(self, url: str, *, project: str = "") -> None:
        """Make a repository known, of one project or of all."""
        self._cluster.kubectl("apply", "--filename=-", input=json.dumps(repository(url, project=project)))

    def application(self, name: str, *, namespace: str = NAMESPACE) -> dict[str, Any]:
        """The Application as the API server has it; empty when there is none."""
        found = self._cluster.kubectl(
            "get", "applications.argoproj.io", name, "-n", namespace, "--ignore-not-found", "-o", "json"
        )
        body: dict[str, Any] = json.loads(found.stdout or "{}")
        return body

    def post(self, path: str, body: dict[str, Any], *, token: str = "") -> dict[str, Any]:
        """Call the server's REST API as somebody else than the service does."""
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        request = urllib.request.Request(self.url + path, data=json.dumps(body).encode(), headers=headers)  # noqa: S310
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS, context=context) as answer:  # noqa: S310
            read: dict[str, Any] = json.load(answer)
            return read

    def log(self, program: str) -> str:
        """What a component has logged so far."""
        return self._log(program).read_text(encoding="utf-8", errors="replace")

    def _link(self, redis: Path, *, scripts: Path) -> None:
        programs = self._folder / "bin"
        programs.mkdir(parents=True)
        binary = ensure_tools(["argocd"])["argocd"]
        for component in _COMPONENTS:
            (programs / f"argocd-{component}").symlink_to(binary)
        (programs / "argocd").symlink_to(binary)
        (programs / "redis-server").symlink_to(redis)
        for name in _SCRIPTS:
            copy = programs / name
            shutil.copyfile(scripts / name, copy)
            copy.chmod(0o755)

    def _install(self, crds: Path) -> None:
        certificate, key = make_certificate()
        self.ca_file.write_text(certificate, encoding="ascii")
        self._cluster.kubectl("create", "namespace", NAMESPACE)
        self._cluster.kubectl("apply", "--server-side", *(f"--filename={crds / name}" for name in _CRDS))
        found = objects(password_hash=self._hash(_PASSWORD), certificate=certificate, key=key)
        self._cluster.kubectl("apply", "--filename=-", input=json.dumps(found))
        self._cluster.await_crd("appprojects.argoproj.io")
        self.add_project("default")

    def _hash(self, password: str) -> str:
        done = subprocess.run(
            [self._folder / "bin" / "argocd", "account", "bcrypt", "--password", password],
            env={"HOME": str(self._folder)},
            capture_output=True,
            text=True,
            timeout=_REQUEST_SECONDS,
            check=True,
        )
        return done.stdout.strip()

    def _start_processes(self) -> None:
        redis, repo = f"127.0.0.1:{self._redis_port}", f"127.0.0.1:{self._repo_port}"
        server_metrics, repo_metrics, controller_metrics = map(str, self._metrics_ports)
        shared = ("--redis", redis, "--repo-server", repo)
        self._run(
            "redis-server", "--bind", "127.0.0.1", "--port", str(self._redis_port), "--save", "", "--appendonly", "no",
            "--set-proc-title", "no",  # whoever removes the cluster knows its processes by what they execute
        )  # fmt: skip
        self._run(
            "argocd-repo-server", "--address", "127.0.0.1", "--port", str(self._repo_port),
            "--metrics-address", "127.0.0.1", "--metrics-port", repo_metrics, "--redis", redis,
        )  # fmt: skip
        self._run(
            "argocd-application-controller", "--namespace", NAMESPACE, "--metrics-port", controller_metrics, *shared,
        )  # fmt: skip
        self._run(
            "argocd-server", "--namespace", NAMESPACE, "--address", "127.0.0.1", "--port", str(self._server_port),
            "--metrics-address", "127.0.0.1", "--metrics-port", server_metrics, *shared,
        )  # fmt: skip

    def _run(self, program: str, *arguments: str) -> None:
        with self._log(program).open("ab") as log:
            process = subprocess.Popen(
                [self._folder / "bin" / program, *arguments],
                env=self._environment(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes[program] = process

    def _environment(self) -> dict[str, str]:
        folders = {
            "HOME": "home",
            "TMPDIR": "tmp",
            "ARGOCD_TLS_DATA_PATH": "tls",
            "ARGOCD_SSH_DATA_PATH": "ssh",
            "ARGOCD_GNUPGHOME": "gpg/keys",
            "ARGOCD_GPG_DATA_PATH": "gpg/source",
            "ARGOCD_PLUGINSOCKFILEPATH": "plugin",
        }
        paths = {variable: self._folder / folder for variable, folder in folders.items()}
        for path in paths.values():
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return {
            **{variable: str(path) for variable, path in paths.items()},
            "PATH": f"{self._folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "KUBECONFIG": str(self._cluster.kubeconfig),
            "ARGOCD_FAKE_IN_CLUSTER": "true",  # https://kubernetes.default.svc is the cluster of the kubeconfig
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_CONTROLLER_SHARD": "0",
        }

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        context = ssl.create_default_context(cafile=str(self.ca_file))
        while time.monotonic() < deadline:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise ClusterError(f"{name} ended by itself:\n{self._tail(name)}")
            try:
                with urllib.request.urlopen(f"{self.url}/healthz", timeout=5, context=context):  # noqa: S310
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(_POLL_SECONDS)
        raise ClusterError(f"argocd-server was not ready after {_READY_SECONDS:.0f} s:\n{self._tail('argocd-server')}")

    def _log(self, program: str) -> Path:
        return self._folder / f"{program}.log"

    def _tail(self, program: str) -> str:
        return "\n".join(self.log(program).splitlines()[-10:])
