"""Arrays and facts as they stand in a page."""

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

DTYPES = ("uint8", "uint16", "int32", "float32")
"""Those that a page reads."""

Reference = dict[str, Any]
"""Number, kind and length of an array of the page."""


class Arrays:
    """Arrays of a page: zlib, base64, a script element each, and read when needed."""

    def __init__(self):
        self._packed: list[str] = []

    def add(self, values: np.ndarray) -> Reference:
        """Takes an array of one of `DTYPES`, bit for bit."""
        if values.dtype.name not in DTYPES or values.ndim != 1:
            raise ValueError(f"{values.dtype} {values.shape} is not for a page")
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        return self._add(little.tobytes(), values.dtype.name, len(values))

    def add_words(self, words: Sequence[str]) -> Reference:
        """Takes words."""
        content = json.dumps(list(words), ensure_ascii=False)
        return self._add(content.encode("utf-8", "replace"), "words", len(words))

    def _add(self, content: bytes, dtype: str, length: int) -> Reference:
        self._packed.append(base64.b64encode(zlib.compress(content, 6)).decode())
        return {"array": len(self._packed) - 1, "dtype": dtype, "length": length}

    def as_html(self) -> str:
        """The script elements. Base64 needs no escape."""
        return "\n".join(
            f'<script type="text/plain" id="array-{number}">{packed}</script>'
            for number, packed in enumerate(self._packed)
        )


def facts_as_html(facts: Any) -> str:
    """JSON that nothing in it can end, whatever names hold."""
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028")
