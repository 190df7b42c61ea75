"""Model APIs: one file for each, over the official SDKs; and a local model that needs no key."""

from earmark.provider.open import Api, open_provider

__all__ = ["Api", "open_provider"]
