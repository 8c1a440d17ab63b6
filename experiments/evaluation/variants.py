"""Presets with some of their numbers changed, by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from scmultimodal.workflows.presets import Preset


def vary(preset: Preset, changes: Mapping[str, Any]) -> Preset:
    """A preset with fields replaced, such as {"pretrain.path.num_layers": 1}."""
    for path, value in changes.items():
        preset = _replace(preset, path.split("."), value)
    return preset


def _replace(config: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    if rest:
        value = _replace(getattr(config, name), rest, value)
    return dataclasses.replace(config, **{name: value})
