"""Whether a stream shows all that is billed as its output: what a hold that grows with it rests on.

Reasoning is billed as output, and mostly hidden or sent as a summary. Nothing but the limit of
output tokens bounds it then.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from earmark.apis.output_limit import value_at
from earmark.pricing.json_values import mapping

#: Models that reason only where a request asks for it, or never, by the family that their name
#: begins with, whoever serves them; every other one of these families may reason in hiding.
#: Sources: OpenAI API, "Reasoning models"; Claude API, "Thinking" ("what happens when you omit
#: `thinking`, depend[s] on the model"; up to Claude 4.5 nothing); Gemini API, "Thinking"; 2026-11.
_SHOWS_OUTPUT: Final = (
    (
        re.compile(r"gpt|chatgpt|o\d|codex|computer-use"),
        re.compile(r"chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-4-|gpt-4$|gpt-3\.5-turbo"),
    ),
    (
        re.compile(r"claude"),
        re.compile(r"claude-(3-|(opus|sonnet|haiku)-4(-[15])?(-20\d{6}|-0)?$)"),
    ),
    (re.compile(r"gemini"), re.compile(r"gemini-(1\.5|2\.0)-(?!.*thinking)")),
)
#: The models whose thinking a budget of 0 turns off; Gemini API, "Thinking", 2026-11.
_SWITCHED_OFF: Final = re.compile(r"gemini-2\.5-flash")
#: Providers that stream the reasoning they bill: DeepSeek API, "Thinking mode", 2026-11.
_SHOW_REASONING: Final = frozenset({"deepseek"})
#: Where a request asks that its reasoning is left out of the reply; OpenRouter, "Reasoning tokens".
_LEAVES_OUT: Final = (("reasoning.exclude", True), ("include_reasoning", False))


def shows_output(
    provider: str, model: str, body: Mapping[str, Any], *, own_price: bool = False
) -> bool:
    """Return whether a stream of *provider*'s *model* shows all that is billed as output.

    What is not known to show it does not. With *own_price* the server is the user's, who bills
    nothing that it does not send; a family that reasons in hiding does so behind it, too.
    """
    name = model.rpartition("/")[2].lower()
    if any(value_at(body, path) is value for path, value in _LEAVES_OUT):
        return False
    thinking = body.get("thinking")
    thinks = thinking is not None and mapping(thinking).get("type") != "disabled"
    for family, showing in _SHOWS_OUTPUT:
        if family.match(name):
            off = value_at(body, "generationConfig.thinkingConfig.thinkingBudget") == 0
            return (off and _SWITCHED_OFF.match(name) is not None) or (
                not thinks and showing.match(name) is not None
            )
    return own_price or provider in _SHOW_REASONING
