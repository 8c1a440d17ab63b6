"""Parameters of a model as the beginning of another, and an account of all of them."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np

from scmultimodal.schemas.errors import InputError
from scmultimodal.weights.folder import Tree

Fate = Literal["taken", "new", "left"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """What becomes of one parameter.

    Attributes:
        name: "module/name".
        shape: of the array.
        fate: "taken" from the model that is started from, "new" in this one, or "left"
            behind in that one.
    """

    name: str
    shape: tuple[int, ...]
    fate: Fate

    @property
    def size(self) -> int:
        """Numbers in it."""
        return int(np.prod(self.shape))


def take(
    fresh: Tree, start: Tree | None, wanted: Callable[[str], bool], *, source: object
) -> tuple[Tree, list[Entry]]:
    """Fresh parameters with those of a model in their places, and the account.

    Args:
        fresh: {module: {name: array}}.
        start: of the model that is started from; None takes nothing.
        wanted: whether the parameters of a module are to be taken.
        source: of `start`, to name in an error.

    Raises:
        InputError: it lacks a parameter that is to be taken, or has another shape.
    """
    start = start or {}
    params, account = {}, []
    for module, leaves in fresh.items():
        taken = bool(start) and wanted(module)
        params[module] = {}
        for name, array in leaves.items():
            if taken:
                array = _find(start, module, name, array, source)
            params[module][name] = array
            fate: Fate = "taken" if taken else "new"
            account.append(Entry(f"{module}/{name}", array.shape, fate))
    taken_names = {entry.name for entry in account if entry.fate == "taken"}
    account += [
        Entry(name, array.shape, "left")
        for module, leaves in start.items()
        for leaf, array in leaves.items()
        if (name := f"{module}/{leaf}") not in taken_names
    ]
    return params, account


def format_account(account: list[Entry], source: object) -> str:
    """A line for each module: its parameters, and what becomes of them."""
    rows: dict[tuple[str, Fate], list[int]] = {}
    for entry in account:
        module = entry.name.rpartition("/")[0]
        rows.setdefault((module, entry.fate), []).append(entry.size)
    width = max(len(module) for module, _ in rows)
    lines = [f"{'parameters':<{width}}  {'arrays':>6}  {'numbers':>12}"]
    lines += [
        f"{module:<{width}}  {len(sizes):>6}  {sum(sizes):>12,}  {fate}"
        for (module, fate), sizes in rows.items()
    ]
    fates = {entry.fate for entry in account}
    for fate in (fate for fate in ("taken", "new", "left") if fate in fates):
        sizes = [entry.size for entry in account if entry.fate == fate]
        where = f" of {source}" if fate != "new" else ""
        label = f"all that are {fate}{where}"
        lines.append(f"{label:<{width}}  {len(sizes):>6}  {sum(sizes):>12,}")
    return "\n".join(lines)


def _find(
    start: Tree, module: str, name: str, expected: np.ndarray, source: object
) -> np.ndarray:
    found = start.get(module, {}).get(name)
    if found is None or found.shape != expected.shape:
        problem = "is missing"
        if found is not None:
            problem = f"has shape {found.shape}, not {expected.shape}"
        raise InputError(
            source, f"{module}/{name} {problem}", "Give an encoder of the same shape"
        )
    return found
