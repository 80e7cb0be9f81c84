"""What the operator of the service may set: one file, and environment variables that override it.

The only module that reads the environment. A key has one name everywhere: ``max_timeout`` in the file is
``K8S_MCP_MAX_TIMEOUT`` in the environment. Whatever cannot be used is refused at the start with the key's name and what
to write, because a setting that is silently ignored is a policy nobody has.
"""

from __future__ import annotations

import difflib
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from k8s_mcp_server.errors import ConfigurationError
from k8s_mcp_server.policy.quantity import parse_bytes

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

DEFAULT_FILE = Path("/etc/k8s-mcp-server/config.yaml")
ENV_PREFIX = "K8S_MCP_"
_ENVIRONMENT = os.environ  # noqa: TID251 - this module is the one reader
_POD_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MIB = 2**20


class SandboxMode(StrEnum):
    """How much of the sandbox must be there before a command may run."""

    REQUIRED = "required"
    FILESYSTEM = "filesystem"


class AuditRequests(StrEnum):
    """Which API requests of a command get an audit line of their own."""

    DENIED = "Denied"
    ALL = "All"


class TlsVersion(StrEnum):
    """The oldest TLS that the MCP port speaks."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class LogFormat(StrEnum):
    """How the service's own log is written."""

    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """The least severe message that is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def _split(value: object) -> object:
    """``a, b`` as an environment variable states a list."""
    if isinstance(value, str):
        return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
    return value


def _quantity(value: object) -> object:
    return parse_bytes(value.strip()) if isinstance(value, str) else value


def _spelt(value: object) -> object:
    """``1.3`` as YAML reads it, a number."""
    return str(value) if isinstance(value, float) else value


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("write an absolute path")
    return path


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Bytes = Annotated[int, BeforeValidator(_quantity)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Port = Annotated[int, Field(ge=0, le=65535)]


class OidcIssuerSettings(BaseModel):
    """One OpenID Connect issuer whose tokens are accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    url: str = Field(pattern=r"^https://[^?#\s]+$")
    """the issuer, exactly as in its tokens' `iss`"""
    audiences: tuple[str, ...] = ()
    """a token must be for one of these; by default the setting `audience`"""
    username_claim: str = Field(default="sub", min_length=1)
    """claim that holds the username"""
    username_prefix: str = Field(min_length=1)
    """stands before each username in policies, such as `oidc:`"""
    groups_claim: str = Field(default="groups", min_length=1)
    """claim that holds the groups"""
    groups_prefix: str = Field(min_length=1)
    """stands before each group in policies, such as `oidc:`"""
    ca_file: AbsolutePath | None = None
    """certificates that the issuer's TLS is verified with; by default the system's"""

    @field_validator("username_prefix", "groups_prefix")
    @classmethod
    def _not_reserved(cls, prefix: str) -> str:
        if prefix.startswith("system:"):
            raise ValueError("write a prefix that does not begin with `system:`, which belongs to the cluster")
        return prefix


class ArgoCDSettings(BaseModel):
    """One instance of Argo CD that agents may reach with argocd, as far as policies let them."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    """what agents call it (`--argocd-context`), and policies where it is not the first (`name:project/application`)"""
    url: str = Field(pattern=r"^https://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*)?$")
    """of argocd-server, such as `https://argocd-server.argocd.svc`; a path is its root path"""
    ca_file: AbsolutePath
    """certificates that the server is verified with"""
    token_file: AbsolutePath
    """a token of Argo CD, such as one of a project's role, in a file of a mounted Secret; read again when it changes"""
    namespace: str = Field(default="argocd", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    """of its control plane, whose applications are called `project/application`"""


class Settings(BaseSettings):
    """Every setting, with its default. Read them with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    host: str = ""
    """address that MCP listens on; empty for all of the pod's, IPv4 and IPv6"""
    port: Port = 8080
    """port that MCP listens on; 0 takes a free one"""
    health_host: str = ""
    """address of /livez, /readyz and /metrics; empty for all of the pod's"""
    health_port: Port = 8081
    """port of /livez, /readyz and /metrics; 0 takes a free one"""
    tls_cert_file: AbsolutePath | None = None
    """certificate (PEM, with its chain) to serve HTTPS with; read again when it changes, as is `tls_key_file`"""
    tls_key_file: AbsolutePath | None = None
    """key of `tls_cert_file` (PEM, without a passphrase)"""
    tls_min_version: Annotated[TlsVersion, BeforeValidator(_spelt)] = TlsVersion.TLS_1_3
    """oldest TLS that is spoken: `1.2` or `1.3`"""
    allowed_hosts: Names = ()
    """Host headers accepted besides the Service's own names and localhost, such as `mcp.example.com`"""
    allowed_origins: Names = ()
    """Origin headers accepted from browsers, such as `https://mcp.example.com`"""
    public_url: str = Field(default="", pattern=r"^(https?://[^/?#]+(/[^?#]*)?)?$")
    """URL of the MCP endpoint as clients write it, for the resource metadata; empty: from the Host header"""
    service_name: str = Field(default="k8s-mcp-server", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    """name of the Service in front, whose DNS names are accepted as Host"""
    cluster_domain: str = "cluster.local"
    """DNS domain of the cluster"""

    audience: str = Field(default="k8s-mcp-server", min_length=1)
    """audience that a client's ServiceAccount token must be bound to"""
    oidc_issuers: tuple[OidcIssuerSettings, ...] = ()
    """OpenID Connect issuers whose tokens are accepted as well, each with `url`, `username_prefix`, `groups_prefix`"""
    cluster_name: str = Field(default="kubernetes", min_length=1, max_length=128)
    """what to call this cluster in results and audit lines"""
    namespace: str = Field(default="k8s-mcp-system", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    """the service's own namespace; in a pod it is read from the ServiceAccount's files"""
    service_account: str = Field(default="k8s-mcp-server", min_length=1)
    """name of the service's own ServiceAccount"""
    pod_name: str = Field(default="", max_length=253)
    """this replica's name, the identity in the Lease; empty: the host's name"""
    protected_namespaces: Names = ("argocd", "istio-system")
    """namespaces that globs and selectors of policies never match (nor `kube-*`, nor the service's own)"""

    istio_namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = "istio-system"
    """the namespace of Istio's control plane, for istioctl; list it among `protected_namespaces`, too"""

    kubernetes_host: str = ""
    """the API server's host; in a pod KUBERNETES_SERVICE_HOST"""
    kubernetes_port: Annotated[int, Field(ge=1, le=65535)] = 443
    """the API server's port; in a pod KUBERNETES_SERVICE_PORT"""
    ca_file: AbsolutePath = _POD_ACCOUNT / "ca.crt"
    """certificates that the API server is verified with"""
    token_file: AbsolutePath = _POD_ACCOUNT / "token"
    """the service's own token; read again when the file changes"""

    argocd_instances: tuple[ArgoCDSettings, ...] = ()
    """instances of Argo CD for argocd, each with `name`, `url`, `ca_file`, `token_file`, the first by default"""

    chart_ca_file: AbsolutePath | None = None
    """PEM bundle that signs the certificates of chart hosts, beside the system's own"""

    tools_dir: AbsolutePath = Path("/usr/local/bin")
    """directory of the bundled CLIs"""
    runtime_dir: AbsolutePath = Path("/tmp/k8s-mcp-server")  # noqa: S108 - a private folder is made there, 0700
    """directory for the private folders of commands; made when missing"""
    sandbox: SandboxMode = SandboxMode.REQUIRED
    """`required`: no commands without Landlock ABI 4; `filesystem`: ABI 1 is enough, network left to NetworkPolicy"""

    timeout: Annotated[int, Field(ge=1, le=86400)] = 60
    """seconds a command may run when no policy says otherwise"""
    max_timeout: Annotated[int, Field(ge=1, le=86400)] = 300
    """seconds that no policy can exceed; the Pod's terminationGracePeriodSeconds must be longer"""
    max_output: Annotated[Bytes, Field(ge=1024, le=300_000)] = 100_000
    """bytes of output per command when no policy says otherwise"""
    memory: Annotated[Bytes, Field(ge=64 * _MIB)] = 512 * _MIB
    """memory of a command's processes when no policy says otherwise, such as `512Mi`"""
    concurrent_commands: Annotated[int, Field(ge=1, le=1000)] = 4
    """commands at once for one client in this replica, each CLI of a pipe counted, when no policy says otherwise"""
    commands_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 60
    """commands a minute for one client in this replica when no policy says otherwise"""
    max_running_commands: Annotated[int, Field(ge=1, le=1000)] = 16
    """commands of all clients that run at once in this replica"""
    max_queued_commands: Annotated[int, Field(ge=0, le=10_000)] = 64
    """commands of all clients that wait for their turn; more are refused"""
    queue_seconds: Annotated[int, Field(ge=1, le=600)] = 30
    """seconds a command waits for its turn before it is refused"""
    max_connections: Annotated[int, Field(ge=10, le=100_000)] = 1000
    """connections to the MCP port of this replica; a newcomer takes the place of the oldest without a valid token"""
    max_connections_per_address: Annotated[int, Field(ge=1, le=100_000)] = 256
    """of these, from one address; raise it behind a proxy that all clients share"""
    max_request_body: Annotated[Bytes, Field(ge=64 * 1024, le=64 * _MIB)] = 4 * _MIB
    """bytes of one MCP request, manifests in `stdin` included"""

    snapshot_max_age: Annotated[float, Field(ge=1, le=3600)] = 30
    """seconds after which policies and namespaces are too old to decide from: everything is denied"""
    resync: Annotated[float, Field(ge=1, le=3600)] = 10
    """seconds between two complete lists of policies and namespaces"""

    audit_requests: AuditRequests = AuditRequests.DENIED
    """which API requests get an audit line: `Denied` or `All`"""
    log_level: LogLevel = LogLevel.INFO
    """least severe message of the service's own log"""
    log_format: LogFormat = LogFormat.JSON
    """`json` or `text`"""
    drain: Annotated[float, Field(ge=0, le=600)] = 5
    """seconds that requests are still taken after the stop signal, while readiness already says no"""

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        urls = [issuer.url for issuer in self.oidc_issuers]
        if len(urls) > len(set(urls)):
            raise ValueError("`oidc_issuers` names an issuer twice")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("write both `tls_cert_file` and `tls_key_file`, or neither")
        if self.timeout > self.max_timeout:
            raise ValueError(f"`timeout` ({self.timeout}) must not be above `max_timeout` ({self.max_timeout})")
        names = [instance.name for instance in self.argocd_instances]
        if len(names) != len(set(names)):
            raise ValueError("`argocd_instances`: give each instance a name of its own")
        if self.resync >= self.snapshot_max_age / 2:
            raise ValueError(
                f"`resync` ({self.resync:g}) must be below half of `snapshot_max_age` ({self.snapshot_max_age:g}), or "
                "one missed list makes everything stale"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment, then the file (passed as the constructor's arguments), then what the pod knows of itself."""
        return env_settings, init_settings, _PodSource(settings_cls)


class _PodSource(PydanticBaseSettingsSource):
    """What the kubelet tells every pod: the API server's address and the namespace."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value: str | None = None
        if field_name == "kubernetes_host":
            value = _ENVIRONMENT.get("KUBERNETES_SERVICE_HOST")
        elif field_name == "kubernetes_port":
            value = _ENVIRONMENT.get("KUBERNETES_SERVICE_PORT")
        elif field_name == "pod_name":
            value = _ENVIRONMENT.get("HOSTNAME")
        elif field_name == "namespace":
            value = _read_namespace(_POD_ACCOUNT / "namespace")
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value}


def _read_namespace(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def config_file(given: Path | None = None) -> Path | None:
    """The settings file: the one given, else ``K8S_MCP_CONFIG``, else the default one if it exists, else None."""
    if given is not None:
        return given
    if named := _ENVIRONMENT.get(f"{ENV_PREFIX}CONFIG"):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def load_settings(file: Path | None = None) -> Settings:
    """Read the file (see `config_file`) and the environment.

    Raises:
        ConfigurationError: the file cannot be read, a key is unknown or a value cannot be used; the text names each
            key, where it stands and what to write.
    """
    path = config_file(file)
    from_file = _read_file(path) if path else {}
    if unknown := [key for key in from_file if key not in Settings.model_fields]:
        raise ConfigurationError("\n".join(_unknown_key(key, path) for key in unknown))
    try:
        return Settings(**from_file)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(item, path) for item in error.errors())) from error


def unknown_variables() -> tuple[str, ...]:
    """Variables of our prefix that no setting reads: probably misspelt.

    ``K8S_MCP_SERVER_*`` is left out: the kubelet makes such variables for a Service named k8s-mcp-server. So is
    ``K8S_MCP_TEST_*``, which belongs to the test suite.
    """
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | {f"{ENV_PREFIX}CONFIG"}
    ours = (name for name in _ENVIRONMENT if name.startswith(ENV_PREFIX))
    foreign = (f"{ENV_PREFIX}SERVER_", f"{ENV_PREFIX}TEST_")
    return tuple(sorted(name for name in ours if name not in known and not name.startswith(foreign)))


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: is not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigurationError(f"{path}: write settings as `key: value` lines, such as `port: 8080`")
    return content


def _unknown_key(key: str, path: Path | None) -> str:
    near = difflib.get_close_matches(key.lower(), Settings.model_fields, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else "; `k8s-mcp-server config show` lists all keys"
    return f"{path}: unknown key `{key}`{hint}"


def _explain(error: Any, path: Path | None) -> str:
    problem = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return f"{path or 'settings'}: {problem}"
    key = str(error["loc"][0])
    variable = f"{ENV_PREFIX}{key.upper()}"
    where = f"environment variable {variable}" if variable in _ENVIRONMENT else str(path or "settings")
    field = Settings.model_fields.get(key)
    meaning = f" ({field.description})" if field and field.description else ""
    return f"{where}: `{key}`: {problem}{meaning}"
