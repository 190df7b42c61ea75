"""Whether a stream shows all that is billed as its output: what a hold that grows with it rests on.

Reasoning is billed as output, and mostly hidden or sent as a summary. Nothing but the limit of
output tokens bounds it then.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from earmark.apis.output_limit import value_at
from earmark.pricing.json_values import mapping

_OPENAI: Final = re.compile(r"chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-4-|gpt-4$|gpt-3\.5-turbo")
#: Models that reason only where a request asks for it, or never, by who makes them; every other one
#: of theirs may reason in hiding. Sources: OpenAI API, "Reasoning models"; Claude API, "Thinking"
#: ("what happens when you omit `thinking`, depend[s] on the model"; up to Claude 4.5 nothing);
#: Gemini API, "Thinking"; 2026-11.
_SHOWN: Final = {
    "openai": _OPENAI,
    "azure": _OPENAI,
    "anthropic": re.compile(r"claude-(3-|(opus|sonnet|haiku)-4(-[15])?(-20\d{6}|-0)?$)"),
    "google": re.compile(r"gemini-(1\.5|2\.0)-(?!.*thinking)"),
}


def shows_output(provider: str, model: str, body: Mapping[str, Any]) -> bool:
    """Return whether a stream of *provider*'s *model* shows all that is billed as output.

    Of servers of other providers nobody here knows: they are taken to send the reasoning they bill.
    """
    shown = _SHOWN.get(provider)
    if shown is None:
        return True
    if value_at(body, "generationConfig.thinkingConfig.thinkingBudget") == 0:
        return True
    asked = body.get("thinking")
    thinks = asked is not None and mapping(asked).get("type") != "disabled"
    return not thinks and shown.match(model.rpartition("/")[2].lower()) is not None
