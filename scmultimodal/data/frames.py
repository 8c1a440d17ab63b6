"""Tables of cells as JSON: typed, readable, without pickle."""

from typing import Any

import pandas as pd

Json = dict[str, Any]


def to_json(frame: pd.DataFrame) -> Json:
    """Returns a table as plain lists, one entry per column with its type.

    Numbers, booleans and categories keep their type; everything else becomes text.
    Missing values are null.
    """
    return {
        "index": [str(value) for value in frame.index],
        "columns": {str(name): _column(frame[name]) for name in frame},
    }


def from_json(content: Json) -> pd.DataFrame:
    """Returns the table that `to_json` wrote; the index is named `cell_id`."""
    index = pd.Index(content["index"], dtype=object, name="cell_id")
    columns = {
        name: pd.Series(_values(column), index=index)
        for name, column in content["columns"].items()
    }
    return pd.DataFrame(columns, index=index)


def _column(values: pd.Series) -> Json:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return {
            "dtype": "category",
            "ordered": bool(values.cat.ordered),
            "categories": [_scalar(name) for name in values.cat.categories.tolist()],
            "codes": values.cat.codes.tolist(),
        }
    known = pd.api.types.is_bool_dtype(values) or (
        pd.api.types.is_numeric_dtype(values)
        and not pd.api.types.is_complex_dtype(values)
    )
    dtype = str(values.dtype) if known else "object"
    plain = values if known else values.map(str, na_action="ignore")
    plain = plain.astype(object)
    return {"dtype": dtype, "values": plain.where(plain.notna(), None).tolist()}


def _scalar(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _values(column: Json) -> pd.Categorical | pd.api.extensions.ExtensionArray | Any:
    if column["dtype"] == "category":
        return pd.Categorical.from_codes(
            column["codes"], column["categories"], ordered=column["ordered"]
        )
    return pd.array(column["values"], dtype=object).astype(column["dtype"])
