"""What a reply holds of output that a model wrote, in the shape of any API: a check of its counts.

Only what is surely written by the model counts, and as little of it as it can be: what a tool or a
server wrote into a reply is no output.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from earmark.pricing.json_values import items, mapping

#: The longest token of the tokenizers whose tables are published (cl100k, o200k, Llama 3): a run of
#: 128 spaces. Source: their vocabularies, 2026-11.
LONGEST_TOKEN: Final = 128
#: Texts of a Chat Completions message; reasoning by the names compatible servers give it.
_MESSAGE_TEXTS: Final = ("content", "refusal", "reasoning_content", "reasoning")
#: Blocks and items that a model wrote, of the Messages and Responses APIs.
_WRITTEN: Final = frozenset(
    {"text", "thinking", "message", "reasoning", "function_call", "custom_tool_call"}
)


def written_choices(body: Mapping[str, Any]) -> int:
    """Return how many choices of a reply hold any output."""
    if "choices" in body:
        messages = (mapping(mapping(each).get("message")) for each in items(body["choices"]))
        return sum(any(v for k, v in each.items() if k != "role") for each in messages)
    if "candidates" in body:
        contents = (mapping(mapping(each).get("content")) for each in items(body["candidates"]))
        return sum(bool(items(each.get("parts"))) for each in contents)
    if "data" in body:  # images
        made = (mapping(each) for each in items(body["data"]))
        return sum(any(each.get(name) for name in ("b64_json", "url")) for each in made)
    return int(any(v for block in _blocks(body) for k, v in block.items() if k != "type"))


def fewest_tokens(body: Mapping[str, Any]) -> int:
    """Return how many tokens the texts of a reply have at least, whatever the tokenizer."""
    characters = sum(len(text) for text in _texts(body) if isinstance(text, str))
    return -(-characters // LONGEST_TOKEN)


def holds_work(body: Mapping[str, Any]) -> bool:
    """Whether *body* shows that a model worked: output, or a usage that counts anything."""
    counters = [*mapping(body.get("usage")).values(), *mapping(body.get("usageMetadata")).values()]
    return written_choices(body) > 0 or any(counters)


def _blocks(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (mapping(each) for name in ("content", "output") for each in items(body.get(name)))


def _texts(body: Mapping[str, Any]) -> Iterator[object]:
    for each in items(body.get("choices")):
        message = mapping(mapping(each).get("message"))
        for name in _MESSAGE_TEXTS:
            yield message.get(name)
            yield from _parts(message.get(name))
        for call in items(message.get("tool_calls")):
            yield mapping(mapping(call).get("function")).get("arguments")
    for each in items(body.get("candidates")):
        yield from _parts(mapping(mapping(each).get("content")).get("parts"))
    for block in _blocks(body):
        if block.get("type") in _WRITTEN:
            yield from (block.get(name) for name in ("text", "thinking", "arguments", "input"))
            yield from (text for name in ("content", "summary") for text in _parts(block.get(name)))


def _parts(content: object) -> Iterator[object]:
    for each in items(content):
        part = mapping(each)
        yield from (part.get(name) for name in ("text", "refusal"))
