"""Configurations as JSON and back: plain nested dataclasses, no class lookup."""

import dataclasses
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

from scmultimodal.schemas.errors import InputError

Config = TypeVar("Config")


def to_json(config: Any) -> dict[str, Any]:
    """A configuration as nested dictionaries, lists and scalars."""
    return dataclasses.asdict(config)


def from_json(cls: type[Config], fields: Mapping[str, Any], *, source: str) -> Config:
    """Rebuilds a configuration; its `__post_init__` validates it again.

    Args:
        cls: the dataclass.
        fields: what `to_json` gave, read back from JSON (tuples became lists).
        source: file to name in an error.

    Raises:
        InputError: where a field is unknown or missing, or a value breaks its rule.
    """
    hints = typing.get_type_hints(cls)
    if unknown := sorted(set(fields) - set(hints)):
        raise InputError(
            source,
            f"{cls.__name__} has no field {unknown[0]!r}",
            "read it with the scmultimodal version that wrote it",
        )
    values = {k: _value(hints[k], v, source) for k, v in fields.items()}
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise InputError(
            source, f"{cls.__name__}: {error}", "restore the file from its source"
        ) from error


def differences(
    found: Mapping[str, Any],
    expected: Mapping[str, Any],
    *,
    ignore: Collection[str] = (),
) -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, found, expected) of every field in which two JSONs differ.

    A field that one of them lacks counts as None there. Fields of a name in `ignore`
    may differ, at any depth.
    """
    for name in sorted((found.keys() | expected.keys()) - set(ignore)):
        old, new = found.get(name), expected.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            for inner, *values in differences(old, new, ignore=ignore):
                yield f"{name}.{inner}", *values
        elif old != new:
            yield name, old, new


def first_difference(
    found: Mapping[str, Any], expected: Mapping[str, Any], *, ignore: Collection[str]
) -> tuple[str, Any, Any] | None:
    """The first of `differences`; None where there is none."""
    return next(differences(found, expected, ignore=ignore), None)


def _value(hint: Any, value: Any, source: str) -> Any:
    if isinstance(hint, types.UnionType) and value is not None:
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_json(hint, value, source=source)
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        item = typing.get_args(hint)[0]
        return tuple(_value(item, v, source) for v in value)
    return value
