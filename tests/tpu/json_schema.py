"""What of a JSON Schema, or of a CRD's openAPIV3Schema, a value does not satisfy.

The keywords that those two use; any other is refused, so that none is passed over.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}
CHECKED = {
    *("type", "properties", "required", "additionalProperties", "items", "enum"),
    *("pattern", "minimum", "maximum", "minItems", "maxItems", "maxLength", "anyOf"),
    *("const", "$ref", "x-kubernetes-int-or-string"),
}
WORDS = {"$defs", "$schema", "title", "description", "format", "default", "nullable"}
"""Say nothing of what is allowed, or no more than the type."""
OF_SERVERS = "x-kubernetes-"
"""How lists are merged, and rules in another language, on a server."""


def problems(
    value: Any, schema: Mapping[str, Any], *, closed: bool, path: str = "$"
) -> list[str]:
    """Where and what.

    Args:
        value: as json.loads gives it.
        schema: that it should satisfy.
        closed: objects with properties have no others, unless it says so: as a server
            of Kubernetes takes them from kubectl.
        path: of the value.
    """
    return list(_problems(value, schema, schema.get("$defs", {}), closed, path))


def _problems(
    value: Any,
    schema: Mapping[str, Any],
    named: Mapping[str, Any],
    closed: bool,
    path: str,
) -> Iterator[str]:
    if "$ref" in schema:
        schema = named[schema["$ref"].removeprefix("#/$defs/")]
    for word in schema:
        if word not in CHECKED | WORDS and not word.startswith(OF_SERVERS):
            raise ValueError(f"{path}: keyword {word!r} is not known here")
    if "anyOf" in schema and all(
        any(_problems(value, one, named, closed, path)) for one in schema["anyOf"]
    ):
        yield f"{path}: {value!r} is none of {schema['anyOf']}"
    if not _is(value, schema.get("type")):
        yield f"{path}: {value!r} is no {schema['type']}"
        return
    yield from _of_scalar(value, schema, path)
    if isinstance(value, dict):
        yield from _of_object(value, schema, named, closed, path)
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1e9):
            yield f"{path}: has {len(value)} items"
        for place, one in enumerate(value):
            inner = schema.get("items", {})
            yield from _problems(one, inner, named, closed, f"{path}[{place}]")


def _is(value: Any, kind: str | None) -> bool:
    if kind is None:
        return True
    return isinstance(value, KINDS[kind]) and (
        not isinstance(value, bool) or kind == "boolean"
    )


def _of_scalar(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        yield f"{path}: {value!r} is not {schema.get('enum') or schema['const']}"
    if isinstance(value, str):
        if not re.search(schema.get("pattern", ""), value):
            yield f"{path}: {value!r} is not like {schema['pattern']}"
        if len(value) > schema.get("maxLength", len(value)):
            yield f"{path}: {value!r} is longer than {schema['maxLength']}"
    elif isinstance(value, int | float) and not (
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
    ):
        yield f"{path}: {value!r} is too small or too large"


def _of_object(
    value: dict,
    schema: Mapping[str, Any],
    named: Mapping[str, Any],
    closed: bool,
    path: str,
) -> Iterator[str]:
    for name in schema.get("required", []):
        if name not in value:
            yield f"{path}: has no {name}"
    properties = schema.get("properties", {})
    more = schema.get("additionalProperties", not (closed and properties))
    for name, one in value.items():
        inner = properties.get(name, more)
        if inner is False:
            yield f"{path}: has {name}"
        elif inner is not True:
            yield from _problems(one, inner, named, closed, f"{path}.{name}")
