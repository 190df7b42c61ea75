"""Sending one call outside the guard, as the tests of providers do."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from earmark.admission.call import Grant, ModelRequest, Provider, Reply
from earmark.money import Money


async def ignore(produced: int) -> None:
    """Take note of nothing."""
    del produced


def grant(
    max_output_tokens: int | None = None,
    *,
    timeout_s: float = 60.0,
    produced: Callable[[int], Awaitable[None]] = ignore,
) -> Grant:
    """Return a grant as the guard would give it."""
    return Grant(
        max_output_tokens=max_output_tokens,
        timeout_s=timeout_s,
        available=Money(1),
        produced=produced,
    )


def ask(model: str, text: str = "hello", **more: Any) -> ModelRequest:
    """Return a request of one user message."""
    return ModelRequest(model=model, messages=[{"role": "user", "content": text}], **more)


def send(provider: Provider, request: ModelRequest, given: Grant | None = None) -> Reply:
    """Send one call and close the provider."""

    async def once() -> Reply:
        try:
            return await provider.call(request).send(given or grant())
        finally:
            await provider.aclose()

    return asyncio.run(once())
