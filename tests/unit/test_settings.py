"""Settings: one file, environment over it, and errors that say what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8s_mcp_server.errors import ConfigurationError
from k8s_mcp_server.settings import SandboxMode, Settings, load_settings, unknown_variables

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in unknown_variables():
        monkeypatch.delenv(name)
    for name in ("CONFIG", *(field.upper() for field in Settings.model_fields)):
        monkeypatch.delenv(f"K8S_MCP_{name}", raising=False)
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "HOSTNAME"):
        monkeypatch.delenv(name, raising=False)


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_file_and_variables_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, ""))

    assert settings.audience == "k8s-mcp-server"
    assert settings.sandbox is SandboxMode.REQUIRED
    assert (settings.timeout, settings.max_output, settings.memory) == (60, 100_000, 512 * 2**20)


def test_connections_have_limits_by_default(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, ""))

    assert (settings.max_connections, settings.max_connections_per_address) == (1000, 256)


def test_the_file_is_read(tmp_path: Path) -> None:
    settings = load_settings(
        write(tmp_path, "cluster_name: prod\nmemory: 1Gi\nallowed_hosts: [mcp.example.com]\nsandbox: filesystem\n")
    )

    assert settings.cluster_name == "prod"
    assert settings.memory == 2**30
    assert settings.allowed_hosts == ("mcp.example.com",)
    assert settings.sandbox is SandboxMode.FILESYSTEM


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_MCP_TIMEOUT", "30")
    monkeypatch.setenv("K8S_MCP_ALLOWED_HOSTS", "a.example.com, b.example.com")

    settings = load_settings(write(tmp_path, "timeout: 90\nport: 9000\n"))

    assert (settings.timeout, settings.port) == (30, 9000)
    assert settings.allowed_hosts == ("a.example.com", "b.example.com")


def test_a_pod_knows_its_api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    monkeypatch.setenv("HOSTNAME", "replica-1")

    settings = load_settings(write(tmp_path, "kubernetes_port: 443\n"))

    assert (settings.kubernetes_host, settings.kubernetes_port) == ("10.0.0.1", 443)
    assert settings.pod_name == "replica-1"


def test_the_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_MCP_CONFIG", str(write(tmp_path, "port: 1234\n")))

    assert load_settings().port == 1234


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("max_timeot: 5\n", ["max_timeot", "`max_timeout`"], id="an unknown key names the nearest one"),
        pytest.param("zzz: 5\n", ["`zzz`", "config show"], id="an unknown key without a near one says where to look"),
        pytest.param("port: eighty\n", ["`port`", "integer", "port that MCP listens on"], id="a word is no port"),
        pytest.param("port: 70000\n", ["`port`", "65535"], id="a port has a limit"),
        pytest.param("timeout: 0\n", ["`timeout`", "greater than or equal to 1"], id="no time is no timeout"),
        pytest.param("memory: 5 apples\n", ["`memory`", "512Mi"], id="a quantity has units of Kubernetes"),
        pytest.param("max_output: 10Mi\n", ["`max_output`", "300000"], id="output has a ceiling"),
        pytest.param("sandbox: none\n", ["`sandbox`", "required"], id="the sandbox cannot be left out"),
        pytest.param("token_file: token\n", ["`token_file`", "absolute path"], id="a relative path is refused"),
        pytest.param(
            "timeout: 700\n", ["`timeout` (700)", "`max_timeout` (300)"], id="the default is within the maximum"
        ),
        pytest.param("resync: 20\n", ["`resync` (20)", "half"], id="a resync is much younger than stale"),
        pytest.param("public_url: example.com\n", ["`public_url`", "pattern"], id="a URL has a scheme"),
        pytest.param(
            "oidc_issuers: [{url: http://a, username_prefix: o, groups_prefix: o}]\n",
            ["`oidc_issuers`", "https"],
            id="an issuer has TLS",
        ),
        pytest.param(
            "oidc_issuers: [{url: https://a, groups_prefix: o}]\n",
            ["`oidc_issuers`", "required"],
            id="an issuer has prefixes",
        ),
        pytest.param(
            "oidc_issuers: [{url: https://a, username_prefix: 'system:x', groups_prefix: o}]\n",
            ["`system:`"],
            id="an issuer does not name what is the cluster's",
        ),
        pytest.param(
            "oidc_issuers: [{url: https://a, username_prefix: o, groups_prefix: o}, "
            "{url: https://a, username_prefix: p, groups_prefix: p}]\n",
            ["twice"],
            id="an issuer stands once",
        ),
        pytest.param("- port\n", ["`key: value`"], id="a list is no settings"),
        pytest.param("port: [\n", ["is not YAML"], id="broken YAML"),
        pytest.param("5: 6\n", ["`key: value`"], id="a number is no key"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_to_write(tmp_path: Path, text: str, said: list[str]) -> None:
    path = write(tmp_path, text)

    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)

    assert str(path) in str(caught.value)
    for words in said:
        assert words in str(caught.value)


def test_every_wrong_key_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(write(tmp_path, "port: x\ndrain: y\n"))

    assert len(str(caught.value).splitlines()) == 2


def test_a_wrong_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_MCP_PORT", "x")

    with pytest.raises(ConfigurationError, match="environment variable K8S_MCP_PORT"):
        load_settings(write(tmp_path, "port: 80\n"))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings(tmp_path / "absent.yaml")


def test_misspelt_variables_are_found_and_the_kubelets_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_MCP_PROT", "80")
    monkeypatch.setenv("K8S_MCP_SERVER_SERVICE_HOST", "10.0.0.9")
    monkeypatch.setenv("K8S_MCP_TEST_USE_KWOK", "true")

    assert unknown_variables() == ("K8S_MCP_PROT",)


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
