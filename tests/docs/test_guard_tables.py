"""What `docs/guard.md` tables and numbers say is what the code does."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

import earmark
from earmark.admission.policy import ELASTIC
from earmark.admission.quantile import MIN_REPLIES, PRIOR_TOKENS, WINDOW
from earmark.apis.api import request_table
from earmark.apis.failures import LONGEST_RETRY_AFTER_S, Rejection, http_failure
from earmark.apis.output_limit import with_output_limit
from earmark.pricing.json_values import mapping

PAGE = (Path(__file__).parents[2] / "docs/guard.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose headings begin so."""
    table = PAGE.split(f"\n| {heading} |")[1].split("\n\n")[0]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]


def failure(status: int, body: object) -> earmark.CallFailed:
    """Return how a call failed that OpenAI answered with *status*."""
    return http_failure(
        Rejection(provider="openai", host="api.openai.com", headers={}, status=status, body=body)
    )


@pytest.mark.parametrize("status", range(400, 600))
def test_an_error_is_booked_and_called_retryable_as_the_page_says(status: int) -> None:
    """Each status stands in one row, by its number or as another of its class."""
    by_status = {
        each: (hold, retryable)
        for cell, hold, retryable in rows("HTTP status")
        for each in re.findall(r"`(\w+)`", cell)
    }
    hold, retryable = by_status.get(str(status)) or by_status[f"{status // 100}xx"]
    own = failure(status, {"error": {"type": "an_error"}})
    assert (own.billed == "no") == hold.startswith("released")
    assert own.retryable == retryable.startswith("yes")
    bare = failure(status, "bad gateway")
    assert (bare.billed == own.billed) == ("else kept" not in hold)
    filtered = failure(status, {"error": {"code": "content_filter"}})
    assert (filtered.billed == own.billed) == ("content filter" not in hold)
    if "used up" in retryable:
        assert not failure(status, {"error": {"code": "insufficient_quota"}}).retryable
    assert f"more than {LONGEST_RETRY_AFTER_S:g} s" in PAGE


def paths(value: object, at: str = "") -> Iterator[tuple[str, object]]:
    """Yield what a body holds by its path; a stream's options are one value."""
    if isinstance(value, Mapping) and at != "stream_options":
        for name, each in mapping(cast("object", value)).items():
            yield from paths(each, f"{at}.{name}" if at else str(name))
    else:
        yield at, value


@pytest.mark.parametrize(
    ("api", "host", "body"),
    [
        ("openai", "", {"stream": True}),
        ("openai", "api.openai.com", {"stream": True}),
        ("openai-responses", "", {"tools": [{"type": "web_search"}]}),
        ("openai-responses", "api.openai.com", {"tools": [{"type": "web_search"}]}),
        ("anthropic", "", {"stream": True}),
        ("anthropic", "api.anthropic.com", {"stream": True}),
        ("gemini", "", {}),
        ("gemini", "generativelanguage.googleapis.com", {}),
    ],
)
def test_what_is_added_to_a_body_is_what_the_page_says(
    api: str, host: str, body: dict[str, Any]
) -> None:
    """At any host what its row lists, at one that is named that and the row of its own."""
    said: dict[str, object] = {}
    for name, at, added in rows("`api` | sent to | added"):
        if name == f"`{api}`" and at.strip("`") in {"any host", host}:
            if "in its place" in added:
                said.pop("max_tokens")
            words = re.findall(r"`([^`]+)`", added)
            for word, after in zip(words, [*words[1:], ""], strict=True):
                if re.fullmatch(r"[a-zA-Z_.]+", word):
                    is_value = re.fullmatch(r'".*"|\d+|\{.*\}', after)
                    said[word] = json.loads(after) if is_value else 77
    sent = with_output_limit(api, body, 77, host=host)
    assert {at: value for at, value in paths(sent) if at not in body and at != "tools"} == said
    assert request_table(api).hosts.keys() <= {
        *("api.openai.com", "azure.com", "api.anthropic.com", "generativelanguage.googleapis.com")
    }


@pytest.mark.parametrize("text", [PAGE, earmark.Elastic.__doc__])
def test_what_a_stream_begins_with_is_what_page_and_help_say(text: str) -> None:
    """The numbers of learning are those of the code; a step's are given as tokens on the page."""
    assert f"begins at {PRIOR_TOKENS} output tokens" in text
    words = " ".join(text.split())
    assert f"{MIN_REPLIES} replies" in words
    assert f"99 of 100 of the last {WINDOW} needed" in words
    assert (f"{2 * ELASTIC.step} tokens more" in words) or ("two steps more" in words)
