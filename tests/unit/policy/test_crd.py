"""The CRD: its conventions, and that the reader reads exactly what it declares."""

from __future__ import annotations

from types import NoneType
from typing import Any, Literal, get_args, get_origin

import annotated_types
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from k8s_mcp_server.commands.parse import CHECKS
from k8s_mcp_server.policy import model
from k8s_mcp_server.policy.compile import API_VERSION, InvalidPolicy, read_policy
from k8s_mcp_server.policy.quantity import parse_bytes
from tests.support.crd import crd, nodes, schema
from tests.support.policy_samples import bad_specs, rule_messages

pytestmark = pytest.mark.unit

SPEC = schema()["properties"]["spec"]
NODES = [(path, node) for path, node in nodes(schema()) if path and path != "metadata"]
BY_TYPE = {
    kind: [pytest.param(node, id=path) for path, node in NODES if node.get("type") == kind]
    for kind in ("string", "array")
}
ONLY_ALLOWS = {"allowPrivilegedWorkloads", "fromRBAC", "roleRef"}
BOUNDS = {"maxLength": "max_length", "minLength": "min_length", "pattern": "pattern", "minimum": "ge", "maximum": "le"}


class TestConventions:
    """What kube-api-linter would say."""

    def test_names_are_those_of_the_project(self) -> None:
        found = crd()
        names = found["spec"]["names"]
        (version,) = found["spec"]["versions"]
        assert found["metadata"]["name"] == f"{names['plural']}.{found['spec']['group']}"
        assert f"{found['spec']['group']}/{version['name']}" == API_VERSION
        assert (names["kind"], names["shortNames"], names["categories"]) == ("McpAccessPolicy", ["mcpap"], ["mcp"])
        assert found["spec"]["scope"] == "Cluster"
        assert version["subresources"] == {"status": {}}

    @pytest.mark.parametrize(("path", "node"), NODES)
    def test_everything_is_described(self, path: str, node: dict[str, Any]) -> None:
        assert node["description"].strip().endswith("."), path

    @pytest.mark.parametrize("node", BY_TYPE["string"])
    def test_every_text_is_bounded(self, node: dict[str, Any]) -> None:
        assert (
            "maxLength" in node or "enum" in node or node["description"] in {"k8s-mcp.io/v1alpha1.", "McpAccessPolicy."}
        )

    @pytest.mark.parametrize("node", BY_TYPE["array"])
    def test_every_list_is_bounded_and_says_how_it_merges(self, node: dict[str, Any]) -> None:
        assert node["maxItems"] <= 128
        assert node["x-kubernetes-list-type"] in {"atomic", "set", "map"}

    @pytest.mark.parametrize(("path", "node"), [item for item in NODES if item[1].get("type") == "integer"])
    def test_every_number_is_bounded_below_and_has_a_format(self, path: str, node: dict[str, Any]) -> None:
        assert {"minimum", "format"} <= set(node), path

    @pytest.mark.parametrize(("path", "node"), [item for item in NODES if "additionalProperties" in item[1]])
    def test_every_map_is_bounded(self, path: str, node: dict[str, Any]) -> None:
        assert "maxProperties" in node, path

    @pytest.mark.parametrize(("path", "node"), [item for item in NODES if "default" in item[1]])
    def test_every_default_is_described(self, path: str, node: dict[str, Any]) -> None:
        assert "Default: " in node["description"], path

    @pytest.mark.parametrize(("path", "node"), [item for item in NODES if "x-kubernetes-validations" in item[1]])
    def test_every_rule_has_a_message(self, path: str, node: dict[str, Any]) -> None:
        for rule in node["x-kubernetes-validations"]:
            assert rule["message"], path

    def test_every_rule_has_a_sample_that_breaks_it(self) -> None:
        rules = [rule for _, node in NODES for rule in node.get("x-kubernetes-validations", [])]
        assert [rule["message"] for rule in rules if not any(text in rule["message"] for text in rule_messages())] == []

    def test_a_deny_has_the_shape_of_a_rule_without_what_only_allows(self) -> None:
        rules, denies = SPEC["properties"]["rules"]["items"], SPEC["properties"]["deny"]["items"]
        shared = {name: item for name, item in rules["properties"].items() if name not in ONLY_ALLOWS}
        assert _undescribed(shared) == _undescribed(denies["properties"])
        assert denies["required"] == ["verbs"]
        checked = [item["rule"] for item in denies["x-kubernetes-validations"]]
        assert not [text for text in checked if any(name in text for name in ONLY_ALLOWS)]

    def test_only_tools_that_work_are_offered(self) -> None:
        assert SPEC["properties"]["tools"]["items"]["enum"] == list(CHECKS)


def _undescribed(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _undescribed(item) for key, item in value.items() if key != "description" or isinstance(item, dict)
        }
    return value


class TestTheReader:
    """Field for field, bound for bound."""

    def test_reads_what_the_crd_declares(self) -> None:
        _compare_object(model.SpecModel, SPEC, "spec")

    @pytest.mark.parametrize(("spec", "message"), bad_specs())
    def test_refuses_what_the_crd_refuses(self, spec: dict[str, Any], message: str) -> None:
        assert isinstance(read_policy({"metadata": {"name": "p"}, "spec": spec}), InvalidPolicy), message

    def test_has_the_crds_bounds_of_memory(self) -> None:
        (rule,) = SPEC["properties"]["limits"]["properties"]["memoryBytes"]["x-kubernetes-validations"]
        low, high = (text.partition("'")[0] for text in rule["rule"].split("quantity('")[1:])
        assert (parse_bytes(low), parse_bytes(high)) == model.MEMORY_BOUNDS


def _compare_object(reader: type[BaseModel], node: dict[str, Any], path: str) -> None:
    fields = {field.alias or name: field for name, field in reader.model_fields.items()}
    assert set(fields) == set(node["properties"]), path
    assert {name for name, field in fields.items() if field.is_required()} == set(node.get("required", [])), path
    for name, field in fields.items():
        child = node["properties"][name]
        if "default" in child:
            default = field.get_default()
            assert child["default"] == (list(default) if isinstance(default, tuple) else default), f"{path}.{name}"
        _compare(field.annotation, list(field.metadata), child, f"{path}.{name}")


def _compare(annotation: Any, metadata: list[Any], node: dict[str, Any], path: str) -> None:
    annotation, metadata = _unwrap(annotation, metadata)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if node.get("x-kubernetes-int-or-string"):
        text = next(item for item in arguments if item is not int)
        annotation, metadata = _unwrap(text, [])
    elif origin is Literal:
        assert list(arguments) == node.get("enum"), path
    elif origin is tuple:
        assert (_bound(metadata, "max_length"), _bound(metadata, "min_length")) == (
            node["maxItems"],
            node.get("minItems"),
        ), path
        return _compare(arguments[0], [], node["items"], path + "[]")
    elif origin is dict:
        assert (_bound(metadata, "max_length"), _bound(metadata, "min_length")) == (
            node["maxProperties"],
            node.get("minProperties"),
        ), path
        return _compare(arguments[1], [], node["additionalProperties"], path + "{}")
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _compare_object(annotation, node, path)
    else:
        assert {str: "string", bool: "boolean", int: "integer"}[annotation] == node["type"], path
    for keyword, name in BOUNDS.items():
        assert _bound(metadata, name) == node.get(keyword), f"{path}: {keyword}"
    return None


def _unwrap(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """Take off ``| None`` and ``Annotated``, gathering what they carry."""
    while True:
        arguments = [item for item in get_args(annotation) if item is not NoneType]
        if hasattr(annotation, "__metadata__"):
            metadata = [*metadata, *annotation.__metadata__]
            annotation = annotation.__origin__
        elif NoneType in get_args(annotation) and len(arguments) == 1:
            annotation = arguments[0]
        else:
            return annotation, metadata


def _bound(metadata: list[Any], name: str) -> Any:
    flat = [inner for item in metadata for inner in (item.metadata if isinstance(item, FieldInfo) else [item])]
    kinds = {"max_length": annotated_types.MaxLen, "min_length": annotated_types.MinLen, "ge": annotated_types.Ge}
    kinds["le"] = annotated_types.Le
    for item in flat:
        if name in kinds and isinstance(item, kinds[name]):
            return getattr(item, name)
        if name == "pattern" and getattr(item, "pattern", None):
            return item.pattern
    return None
