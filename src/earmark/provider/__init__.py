"""Calls models over HTTP, whatever API their server speaks; and a local model without a key."""

from earmark.provider.open import Api, open_provider

__all__ = ["Api", "open_provider"]
