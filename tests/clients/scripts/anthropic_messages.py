"""Anthropic's SDK, Messages."""

import anthropic
from driver import MOST_TOKENS, Stream, run

client = anthropic.Anthropic()
ASKED = {
    "model": "claude-sonnet-4-5",
    "messages": [{"role": "user", "content": "say hi"}],
    "max_tokens": MOST_TOKENS,
}


def _plain() -> str:
    return client.messages.create(**ASKED).content[0].text


def _stream() -> Stream:
    reply = client.messages.create(**ASKED, stream=True)
    deltas = (each.delta.text for each in reply if each.type == "content_block_delta")
    return Stream(deltas, reply.close)


run(_plain, _stream)
