"""The recorded requests of real clients, as the tests use them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[1] / "fixtures" / "requests"
#: The API behind a path, and who is asked, by the price list's id.
_APIS: Final = {
    "/v1/messages": ("anthropic", "anthropic"),
    "/v1/messages/count_tokens": ("anthropic-count-tokens", "anthropic"),
    "/v1/chat/completions": ("openai", "openai"),
    "/v1/responses": ("openai-responses", "openai"),
    ":generateContent": ("gemini", "google"),
    ":streamGenerateContent": ("gemini", "google"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A request that asks a model."""

    name: str
    """Its client and its number: `claude-code 2`."""
    api: str
    provider: str
    model: str
    headers: Mapping[str, str]
    body: dict[str, Any]


def recorded_requests() -> list[Recorded]:
    """Return the requests that ask a model for an answer, by name."""
    found: list[Recorded] = []
    for file in sorted(FOLDER.glob("*.json")):
        request = json.loads(file.read_text(encoding="utf-8"))
        place = request["path"].partition("?")[0]
        end = next((end for end in _APIS if place.endswith(end)), "")
        if request["method"] != "POST" or not end:
            continue
        api, provider = _APIS[end]
        in_the_path = place.rpartition("/")[2].removesuffix(end)
        found.append(
            Recorded(
                name=f"{request['client']} {file.stem.rpartition('-')[2]}",
                api=api,
                provider=provider,
                model=request["body"].get("model") or in_the_path,
                headers=request["headers"],
                body=request["body"],
            )
        )
    return found
