"""Google's SDK, the Gemini API."""

from driver import MOST_TOKENS, Stream, run
from google import genai

client = genai.Client()
ASKED = {
    "model": "gemini-2.5-flash",
    "contents": "say hi",
    "config": {"max_output_tokens": MOST_TOKENS},
}


def _plain() -> str:
    return client.models.generate_content(**ASKED).text


def _stream() -> Stream:
    reply = client.models.generate_content_stream(**ASKED)
    return Stream((part.text or "" for part in reply), reply.close)


run(_plain, _stream)
