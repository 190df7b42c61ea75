"""A quote: what a request would hold, and whether it would fit now; nothing is held or sent."""

from typing import Any

from earmark.admission.charge import HoldQuote
from earmark.gateway.answers import send_json
from earmark.ledger.async_ledger import AsyncLedger
from earmark.serving.asgi import Send
from earmark.workspace.session_statement import usd_left


async def send_quote(ledger: AsyncLedger, budget: str, quote: HoldQuote, send: Send) -> None:
    """Answer what a request would hold on *budget*."""
    left = usd_left(await ledger.accounts(budget))
    await send_json(send, 200, quote_json(budget, quote, None if left is None else str(left)))


def quote_json(budget: str, quote: HoldQuote, left: str | None) -> dict[str, Any]:
    """Return a quote as a client reads it."""
    refusal = quote.refusal
    return {
        "object": "earmark.quote",
        "budget": budget,
        "fits": refusal is None,
        "hold": str(quote.hold),
        "max_output_tokens": quote.max_output_tokens,
        "clamped_to": quote.clamped_to,
        "available": left,
        "reason": None if refusal is None else str(refusal.reason),
        "would_refuse": None if quote.would_refuse is None else str(quote.would_refuse),
        "message": None if refusal is None else str(refusal),
    }
