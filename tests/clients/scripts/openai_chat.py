"""OpenAI's SDK, Chat Completions."""

import openai
from driver import MOST_TOKENS, Stream, run

client = openai.OpenAI()
ASKED = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "say hi"}],
    "max_tokens": MOST_TOKENS,
}


def _plain() -> str:
    return client.chat.completions.create(**ASKED).choices[0].message.content


def _stream() -> Stream:
    reply = client.chat.completions.create(**ASKED, stream=True)
    return Stream((part.choices[0].delta.content or "" for part in reply), reply.close)


run(_plain, _stream)
