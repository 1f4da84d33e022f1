"""Google's own description of the Play Developer API, as shipped in google-api-python-client, turned into checks."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import googleapiclient.discovery_cache
import jsonschema

RFC3339 = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$"
PATTERNS = {
    "int64": r"^-?\d+$",
    "uint64": r"^\d+$",
    "google-datetime": RFC3339,
    "google-duration": r"^-?\d+(\.\d{1,9})?s$",
}


@cache
def document() -> dict[str, Any]:
    """The discovery document of androidpublisher v3."""
    path = Path(googleapiclient.discovery_cache.__file__).parent / "documents" / "androidpublisher.v3.json"
    return json.loads(path.read_text())


@cache
def methods() -> list[dict[str, Any]]:
    """Every method there is, with its path as a regular expression."""
    found: list[dict[str, Any]] = []

    def walk(resource: dict[str, Any]) -> None:
        for method in resource.get("methods", {}).values():
            pattern = re.sub(r"\\\{\w+\\\}", "([^/]+?)", re.escape(method["path"]))
            found.append({**method, "pattern": re.compile(f"^/{pattern}$")})
        for child in resource.get("resources", {}).values():
            walk(child)

    walk(document())
    return found


def method_of(http_method: str, url: str) -> dict[str, Any]:
    """The method that a request calls. Fails when there is none, or when the query is not what it takes."""
    parts = urlsplit(url)
    matching = [m for m in methods() if m["httpMethod"] == http_method and m["pattern"].match(parts.path)]
    assert matching, f"the API has no {http_method} {parts.path}"
    # The most literal path wins, as in `tokens/{token}:revoke` against `tokens/{token}`.
    method = max(matching, key=lambda m: len(re.sub(r"\{\w+\}", "", m["path"])))
    check_query(method, parse_qsl(parts.query, keep_blank_values=True))
    return method


def check_query(method: dict[str, Any], query: list[tuple[str, str]]) -> None:
    """Every parameter is known, repeated only where allowed, and of its type; none that is required is missing."""
    known = {name: spec for name, spec in method["parameters"].items() if spec["location"] == "query"}
    common = document()["parameters"]
    for name, value in query:
        spec = known.get(name) or common.get(name)
        assert spec is not None, f"{method['id']} takes no {name}"
        assert spec.get("repeated") or [key for key, _ in query].count(name) == 1, f"{name} is given twice"
        if spec["type"] == "integer" or spec.get("format") == "int64":
            assert re.fullmatch(r"-?\d+", value), f"{name} is no number"
        if spec["type"] == "boolean":
            assert value in ("true", "false"), f"{name} is no boolean"
        if "enum" in spec:
            assert value in spec["enum"]
    given = {name for name, _ in query}
    assert all(name in given for name, spec in known.items() if spec.get("required"))


def check_request(method: dict[str, Any], body: bytes) -> None:
    """The body is what the method takes."""
    if "request" not in method:
        assert body == b"", f"{method['id']} takes no body"
    else:
        check(method["request"]["$ref"], json.loads(body))


def check_response(method: dict[str, Any], status: int | None, body: bytes) -> None:
    """The body is what the method answers when it works."""
    if "response" not in method:
        assert body == b""
    else:
        assert status == 200
        check(method["response"]["$ref"], json.loads(body))


def check(schema_name: str, value: object) -> None:
    """`value` is a `schema_name` and holds nothing that the schema does not know."""
    validator(schema_name).validate(value)


@cache
def validator(schema_name: str) -> jsonschema.Draft202012Validator:
    definitions = {name: _converted(schema) for name, schema in document()["schemas"].items()}
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{schema_name}", "$defs": definitions})


def path_values(url: str) -> list[str]:
    """Decoded segments of a path."""
    return [unquote(segment) for segment in urlsplit(url).path.split("/")]


def _converted(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    kind = schema.get("type")
    out: dict[str, Any] = {} if kind in (None, "any") else {"type": kind}
    if kind == "object":
        out["properties"] = {name: _converted(inner) for name, inner in schema.get("properties", {}).items()}
        extra = schema.get("additionalProperties")
        out["additionalProperties"] = False if extra is None else _converted(extra)
    if kind == "array":
        out["items"] = _converted(schema["items"])
    if schema.get("format") in PATTERNS:
        out["pattern"] = PATTERNS[schema["format"]]
    if schema.get("format") == "int32":
        out |= {"minimum": -(2**31), "maximum": 2**31 - 1}
    if "enum" in schema:
        # Unspecified values are documented as never used.
        out["enum"] = [value for value in schema["enum"] if not value.endswith("_UNSPECIFIED")]
    return out
