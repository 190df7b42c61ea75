"""OpenAI's SDK, Responses."""

import openai
from driver import MOST_TOKENS, Stream, run

client = openai.OpenAI()
ASKED = {"model": "gpt-4o", "input": "say hi", "max_output_tokens": MOST_TOKENS}


def _plain() -> str:
    return client.responses.create(**ASKED).output_text


def _stream() -> Stream:
    reply = client.responses.create(**ASKED, stream=True)
    deltas = (each.delta for each in reply if each.type == "response.output_text.delta")
    return Stream(deltas, reply.close)


run(_plain, _stream)
