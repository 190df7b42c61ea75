"""Chat Completions, of OpenAI and of every server compatible with it."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from earmark.admission.call import Grant, ModelRequest
from earmark.apis import failures
from earmark.clock import Clock
from earmark.pricing.book import PriceBook
from earmark.provider.answer import Answer, Progress
from earmark.provider.call import DEFAULT_MAX_TOKENS, ModelCall, Terms, make_call
from earmark.provider.untrusted import mapping, mappings, position, text
from earmark.provider.wire import Sdk, Server, Wire

OPENAI_URL: Final = "https://api.openai.com/v1"

_PATH: Final = "/chat/completions"


class OpenAIProvider:
    """Calls models through the Chat Completions API, with the official SDK and no retries.

    Args:
        name: The provider's name, first part of its models' names: `local` in `local/smollm2-135m`.
        book: Prices; the price is pinned when a call is made.
        base_url: The server, `https://api.openai.com/v1` unless given; environment variables of the
            SDK are not read.
        api_key: The key; a server without one is sent the word `none`.
        default_max_tokens: The output tokens of a request that names none: there is always a bound.
        context_window: The most tokens the server's models take in, where the user knows it.
        allowed_options: Options beyond the API's table that the user vouches for: text at most.
    """

    def __init__(
        self,
        name: str,
        *,
        book: PriceBook,
        clock: Clock,
        base_url: str | None = None,
        api_key: str | None = None,
        default_max_tokens: int = DEFAULT_MAX_TOKENS,
        context_window: int | None = None,
        allowed_options: frozenset[str] = frozenset(),
    ) -> None:
        self._terms = Terms(
            provider=name,
            book=book,
            clock=clock,
            default_max_tokens=default_max_tokens,
            context_window=context_window,
            allowed_options=allowed_options,
        )
        self._server = Server(provider=name, base_url=base_url or OPENAI_URL, api_key=api_key)
        self._wire = Wire(self._server, _connect)
        self._api = _Chat(self._server, self._wire)

    def __repr__(self) -> str:
        return f"OpenAIProvider({self._server.provider!r}, {self._server.host!r})"

    def call(self, request: ModelRequest) -> ModelCall:
        """Return the bounded, not yet sent call; see `earmark.admission.call.Provider`."""
        return make_call(self._terms, self._api, request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()


def _connect(server: Server) -> Sdk:
    import openai  # noqa: PLC0415 - slow to import, and only needed by who calls such a provider

    return Sdk(
        client=openai.AsyncOpenAI(base_url=server.base_url, api_key=server.key, max_retries=0),
        stream=openai.AsyncStream[object],
        error=openai.OpenAIError,
        status_error=openai.APIStatusError,
        connection_error=openai.APIConnectionError,
    )


@dataclass(frozen=True, slots=True)
class _Chat:
    server: Server
    wire: Wire
    form: str = "openai"
    bounded_here: frozenset[str] = frozenset(
        {
            "model",
            "messages",
            "stream",
            "stream_options",
            "n",
            "max_tokens",
            "max_completion_tokens",
        }
    )

    @property
    def is_openai(self) -> bool:
        """Whether OpenAI's own models answer, at OpenAI or at Azure."""
        host = self.server.host
        return _is_host_of(host, "api.openai.com") or host.endswith(".azure.com")

    @property
    def counts_choices(self) -> bool:
        return self.is_openai

    async def send(self, request: ModelRequest, most: int, grant: Grant) -> Answer:
        body = self._body(request, most)
        if not request.stream:
            return _read(await self.wire.ask(_PATH, body, grant.timeout_s))
        progress = Progress(grant, most * request.choices)
        total = _Sum(request.choices)
        async with aclosing(self.wire.stream(_PATH, body, grant.timeout_s)) as chunks:
            async for chunk in chunks:
                for written in total.add(chunk):
                    await progress.add(written)
        return total.answer(self.server.provider, progress.pieces)

    def _body(self, request: ModelRequest, most: int) -> dict[str, Any]:
        """Write the request.

        `max_tokens` is deprecated at OpenAI and refused by its reasoning models, for which
        `max_completion_tokens` bounds the hidden reasoning too; compatible servers all know the old
        name, not all the new one. Source: OpenAI API reference, create chat completion, 2026-11.
        """
        bound = "max_completion_tokens" if self.is_openai else "max_tokens"
        body: dict[str, Any] = {
            **request.options,
            "model": request.model,
            "messages": list(request.messages),
            bound: most,
        }
        if _is_host_of(self.server.host, "api.openai.com"):
            # Not said, it is what the project's settings say; source: the same, `service_tier`.
            body.setdefault("service_tier", "default")
        if request.choices > 1:
            body["n"] = request.choices
        if request.stream:
            # Without it a stream carries no usage (same source).
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body


def _is_host_of(host: str, maker: str) -> bool:
    # Regions have names of their own, such as eu.api.openai.com.
    return f".{host}".endswith(f".{maker}")


def _read(body: Mapping[str, Any]) -> Answer:
    choices = [choice for choice in mappings(body.get("choices")) if mapping(choice.get("message"))]
    values = [_value(mapping(choice["message"])) for choice in choices]
    return Answer(
        body=body,
        value=values[0] if len(values) == 1 else values,
        finish=text(choices[0].get("finish_reason")) if choices else None,
        written=sum(bool(value) for value in values),
        fault="" if choices else "a body that holds no choices",
    )


def _value(message: Mapping[str, Any]) -> Any:  # noqa: ANN401 - text, or a message as it was sent
    """Return the text, if that is all there is, else the message as it was sent."""
    content = message.get("content")
    more = message.get("tool_calls") or message.get("function_call") or message.get("audio")
    if more or not isinstance(content, str | None):
        return dict(message)
    return content or ""


@dataclass(slots=True)
class _Choice:
    text: list[str] = field(default_factory=list[str])
    tools: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    finish: str | None = None

    def add(self, choice: Mapping[str, Any]) -> str:
        """Take in a piece; return what it wrote, visible or not."""
        self.finish = text(choice.get("finish_reason")) or self.finish
        delta = mapping(choice.get("delta"))
        written = [part for name, part in delta.items() if isinstance(part, str) and name != "role"]
        if isinstance(delta.get("content"), str):
            self.text.append(delta["content"])
        written += [self._add_tool(call) for call in mappings(delta.get("tool_calls"))]
        return "".join(written)

    def _add_tool(self, call: Mapping[str, Any]) -> str:
        at = position(call.get("index"), len(self.tools))
        tool = self.tools.setdefault(at, {"type": "function", "function": {"arguments": ""}})
        tool |= {name: call[name] for name in ("id", "type") if call.get(name)}
        function = mapping(call.get("function"))
        if function.get("name"):
            tool["function"]["name"] = function["name"]
        arguments = text(function.get("arguments")) or ""
        tool["function"]["arguments"] += arguments
        return arguments

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.text)}
        if self.tools:
            message["tool_calls"] = [self.tools[index] for index in sorted(self.tools)]
        return message


class _Sum:
    """What the chunks of a stream add up to."""

    def __init__(self, choices: int) -> None:
        self._wanted = choices
        self._choices: dict[int, _Choice] = {}
        self._body: dict[str, Any] = {}

    def add(self, chunk: Mapping[str, Any]) -> list[str]:
        """Take in a chunk; return what it wrote, by choice."""
        self._body |= {
            name: chunk[name] for name in ("model", "service_tier", "usage") if chunk.get(name)
        }
        written = [
            self._choices.setdefault(position(choice.get("index"), 0), _Choice()).add(choice)
            for choice in mappings(chunk.get("choices"))
        ]
        return [part for part in written if part]

    def answer(self, provider: str, pieces: int) -> Answer:
        """Return the whole answer.

        Raises:
            CallFailed: The stream ended before the answer did. A usage sent until then is that of a
                part, so the cost is unknown.
        """
        ended = [choice for choice in self._choices.values() if choice.finish]
        if len(ended) < max(1, self._wanted):
            raise failures.garbled(provider, f"a stream that ended early, after {pieces} pieces")
        choices = [
            {
                "message": self._choices[index].message(),
                "finish_reason": self._choices[index].finish,
            }
            for index in sorted(self._choices)
        ]
        return _read({**self._body, "choices": choices})
