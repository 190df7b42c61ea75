"""OpenAI's Speech API, "Create speech", for models that are billed by the characters they read.

Its replies are sound and have no usage: what a call costs is in its request.
"""

from collections.abc import Mapping
from typing import Any, Final

from earmark.apis.options import TEXT, RequestTable, allowed_values, fields, kinds, texts
from earmark.errors import InvalidUsage


def _characters(body: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the characters of the input, of which one beyond U+FFFF counts as two.

    So many languages count it; no source says how OpenAI does.
    """
    text = body["input"]
    if not isinstance(text, str):
        raise InvalidUsage(detail="input is no text, as a request to API 'openai-speech' has one")
    return {"input_characters": len(text.encode("utf-16-le", "surrogatepass")) // 2}


#: Source: OpenAI API reference, "Create speech", "Pricing" (`tts-1`, `tts-1-hd`: by characters) and
#: the types of the `openai` SDK 3.57, 2026-11. The tokens of the sound that `gpt-4o-mini-tts` makes
#: are bounded by nothing.
REQUEST: Final = RequestTable(
    messages="input",
    output_limits=(),
    billed_units=_characters,
    options={
        **texts("model", "input", "instructions", "response_format", "speed"),
        "voice": kinds({"": fields("id")}, others=TEXT),
        "stream_format": allowed_values("audio"),
    },
)
