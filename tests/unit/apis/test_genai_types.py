"""Every parameter and counter in the types of google-genai stands in Gemini's tables."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from earmark.apis import gemini
from earmark.apis.api import request_table
from earmark.apis.options import Option
from earmark.apis.requests import read_body
from earmark.errors import BudgetExceeded

FOLDER = Path(__file__).parents[2] / "fixtures" / "sdk_types"
LISTING = json.loads(next(FOLDER.glob("google-genai-*.json")).read_text(encoding="utf-8"))["types"]
#: What the SDK keeps to itself.
CLIENT_SIDE = {"httpOptions", "shouldReturnHttpResponse", "automaticFunctionCalling"}
#: Free JSON, and what the SDK makes a content of before it sends it.
NOT_SENT = {"SchemaDict", "FileDict"}


def camel(name: str) -> str:
    """Return a field's name as the body writes it."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def gaps(kind: str, row: Option, place: str, seen: set[tuple[str, int]]) -> Iterator[str]:
    """Yield the path of each field below *kind* that *row* does not list."""
    if (kind, id(row)) in seen or kind in NOT_SENT:
        return
    seen.add((kind, id(row)))
    for field, inner in LISTING[kind].items():
        name = camel(field)
        rule = (row.fields or {}).get(name)
        if rule is None:
            yield f"{place}.{name}"
        elif rule.effect not in {"refused", "input"}:
            sent = inner if "ContentDict" not in inner else ["ContentDict"]
            for each in sent:
                yield from gaps(each, rule, f"{place}.{name}", seen)


def test_every_parameter_of_the_sdk_stands_in_a_table() -> None:
    """The fields of the SDK's config stand in the generation config or beside it."""
    options = request_table("gemini").options
    generation = options["generationConfig"].fields or {}
    not_sent = dict.fromkeys(CLIENT_SIDE, Option(effect="refused"))
    body = Option(fields={**generation, **options, **not_sent})
    assert list(gaps("GenerateContentConfigDict", body, "config", set())) == []
    assert list(gaps("ContentDict", options["contents"], "contents", set())) == []


@pytest.mark.parametrize("name", ["config", *sorted(CLIENT_SIDE), "http_options"])
def test_what_the_sdk_keeps_to_itself_is_refused_by_name(name: str) -> None:
    """It may hold a body of its own, or make further calls."""
    body: dict[str, Any] = {"model": "m", "contents": [], name: {"extra_body": {}}}
    with pytest.raises(BudgetExceeded, match=f"'{name}' is an argument of a client"):
        read_body("gemini", body, allowed=[name])


def test_a_parameter_without_a_row_is_found() -> None:
    """The walk sees what is missing in a part of a part."""
    contents = request_table("gemini").options["contents"]
    fields = dict(contents.fields or {})
    parts = dict(fields["parts"].fields or {})
    del parts["functionCall"]
    fields["parts"] = Option(fields=parts)
    assert list(gaps("ContentDict", Option(fields=fields), "contents", set())) == [
        "contents.parts.functionCall"
    ]


def test_every_counter_of_the_sdk_stands_in_a_table() -> None:
    """Counters, and lists of counters by modality, are read; `trafficType` is a tier."""
    counted = {path.partition(".")[0] for path in gemini.COUNTERS.counters}
    named = {camel(field) for field in LISTING["GenerateContentResponseUsageMetadataDict"]}
    assert named - counted - {"trafficType"} == set()
