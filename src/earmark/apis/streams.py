"""The reply streams of the APIs by name: events in, text, usage and a clean end out. Pure."""

from typing import Final

from earmark.apis.anthropic_messages_stream import MessageStream
from earmark.apis.gemini_stream import GenerateContentStream
from earmark.apis.openai_chat_stream import ChatStream
from earmark.apis.openai_responses_stream import ResponseStream
from earmark.apis.stream_parts import ClosingEvent, EndReason, ReplyStream, StreamPiece
from earmark.errors import InvalidUsage

__all__ = ["ClosingEvent", "EndReason", "ReplyStream", "StreamPiece", "open_stream"]

_STREAMS: Final[dict[str, type[ReplyStream]]] = {
    "openai": ChatStream,
    "openai-responses": ResponseStream,
    "anthropic": MessageStream,
    "gemini": GenerateContentStream,
}


def open_stream(
    api: str, *, choices: int = 1, input_tokens: int = 0, encoding: str | None = None
) -> ReplyStream:
    """Return an empty stream of one reply of *api*; feed it each event in turn.

    Args:
        api: `openai`, `openai-responses`, `anthropic` or `gemini`.
        choices: How many answers were asked for; the reply is finished when each of them is.
        input_tokens: What `closing_events` reports as input where the API has not counted it.
        encoding: The model's tokenizer where it is known (`earmark.pricing.tokens.encoding_of`).

    Raises:
        InvalidUsage: The API's replies are not streamed.
    """
    made = _STREAMS.get(api)
    if made is None:
        raise InvalidUsage(detail=f"replies of '{api}' are not streamed: {', '.join(_STREAMS)} are")
    return made(choices, input_tokens, encoding)
