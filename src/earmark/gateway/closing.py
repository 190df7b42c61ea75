"""Whether a stream whose client is gone is closed at its provider, or read to its end. Pure.

Closed where that stops billing, and where the hold has grown with what was produced, so that what
is presumed is at most two steps ahead of it. Else it is read on, for the exact bill.
"""

from typing import Final

from earmark.admission.policy import STRICT, Elastic, Policy
from earmark.apis.hosts import is_below

#: Hosts, and those below them, where a closed stream is billed for what was generated until then.
#: Source: OpenRouter, "Streaming", "Stream cancellation", providers that support it, 2026-11.
_STOPS_BILLING: Final = (
    *("api.openai.com", "azure.com", "api.anthropic.com", "api.deepseek.com"),
    *("api.together.xyz", "api.together.ai", "api.fireworks.ai", "api.x.ai"),
)


def policy_at(policy: Policy, *, stops_on_close: bool) -> Policy:
    """Return the policy of a call: a hold grows with a stream only where that can be ended.

    Where a provider goes on generating unseen, what it may bill is all that it may write.
    """
    return policy if not isinstance(policy, Elastic) or stops_on_close else STRICT


def stops_billing(host: str) -> bool:
    """Return whether a stream that is closed at *host* is known to be billed no further."""
    return any(is_below(host, known) for known in _STOPS_BILLING)
