"""Calls models over HTTP, whatever API their server speaks; and a local model without a key."""

from earmark.apis.dialect import SpokenApi
from earmark.provider.open import open_provider

__all__ = ["SpokenApi", "open_provider"]
