"""The dialects of the APIs that can be asked, by name."""

from collections.abc import Mapping
from typing import Final

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
