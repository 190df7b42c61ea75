"""JSON values and their text, in the strict form every stage kind speaks: no NaN, no infinities."""

import json
from typing import Any, Final, NoReturn

#: What stages take and give: null, bool, number, text, list or dict of these. Of unknown content.
Json = Any

_COMPACT: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def read_json(text: str | bytes) -> Json:
    """Return the value of a JSON text; what is none is a `ValueError`, nested too deeply too."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(value: Json) -> str:
    """Return *value* as compact JSON text; what JSON cannot say is a `ValueError`."""
    try:
        return _COMPACT.encode(value)
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
