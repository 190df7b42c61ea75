"""The dialects of the APIs that can be asked, by name."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from earmark.apis import (
    anthropic_messages_dialect,
    gemini_dialect,
    openai_chat_dialect,
    openai_responses_dialect,
)
from earmark.apis.dialect import Dialect

DIALECTS: Final[Mapping[str, Dialect]] = {
    "openai": openai_chat_dialect.DIALECT,
    "openai-responses": openai_responses_dialect.DIALECT,
    "anthropic": anthropic_messages_dialect.DIALECT,
    "gemini": gemini_dialect.DIALECT,
}


def maker_of(api: str) -> str:
    """Return the provider that made *api*, by the price list's name; empty for an unknown API.

    What has no dialect of its own, such as `anthropic-count-tokens`, begins with its maker's API.
    """
    dialect = DIALECTS.get(api.partition("-")[0])
    return "" if dialect is None else dialect.maker


def own_host(provider: str, api: str) -> str:
    """Return the host where *provider* answers, if it is the maker of *api* or Azure; else empty.

    Each customer of Azure has a host of their own, below the one that is returned.
    """
    if provider == "azure":
        return "azure.com"
    dialect = DIALECTS.get(api)
    if dialect is None or dialect.maker != provider:
        return ""
    return urlsplit(dialect.base_url).hostname or ""


def counts_choices(api: str, host: str) -> bool:
    """Whether the server at *host* is known to report the usage of all choices of a call."""
    dialect = DIALECTS.get(api) or DIALECTS.get(api.partition("-")[0])
    return dialect is not None and dialect.counts_choices(host)
