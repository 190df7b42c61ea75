"""Loads what the first price and the first count of tokens would wait a second for."""

from typing import Final

from earmark.pricing import snapshot
from earmark.pricing.tokens import count_or_bound

#: Of OpenAI's models now; others are rare, and each takes a hundred megabytes.
_ENCODING: Final = "o200k_base"


def preload() -> None:
    """Load the price list and a tokenizer, if that is installed; done before, it does nothing."""
    snapshot.has_provider("openai")
    count_or_bound(["a"], _ENCODING)
