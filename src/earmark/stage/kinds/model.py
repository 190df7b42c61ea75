"""Stages that ask a model: a prompt template filled from the input, the answer as text or JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from earmark.admission.call import Call, Grant, ModelRequest, Provider, Reply
from earmark.errors import CallFailed, NotFound
from earmark.pricing.bound import Bound
from earmark.stage.kinds.kind import Tools
from earmark.stage.kinds.template import Template
from earmark.stage.stage import StageSpec

_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


class Answers(StrEnum):
    """What a model stage makes of the model's text."""

    TEXT = "text"
    JSON = "json"
    """The text read as JSON, a Markdown fence around it taken off; text that is none is a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStage:
    """One question to one model."""

    spec: StageSpec
    model: str
    """`provider/model`; the provider is one of the run's."""
    prompt: Template
    system: Template | None = None
    max_tokens: int | None = None
    answers: Answers = Answers.TEXT
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    timeout_s: float | None = None

    def call(self, value: Any, tools: Tools) -> Call:
        """Return the provider's call for the filled prompt."""
        request = ModelRequest(
            model=self.model,
            messages=self._messages(value),
            max_tokens=self.max_tokens,
            options=self.options,
        )
        return ModelCall(self, provider_of(self.model, tools.providers).call(request))

    def _messages(self, value: Any) -> list[dict[str, str]]:
        asked = {"role": "user", "content": self.prompt.fill(value)}
        if self.system is None:
            return [asked]
        return [{"role": "system", "content": self.system.fill(value)}, asked]


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A provider's call, its answer turned into the stage's output."""

    stage: ModelStage
    inner: Call

    @property
    def name(self) -> str:
        """What the provider calls it."""
        return self.inner.name

    @property
    def bound(self) -> Bound:
        """The provider's bound."""
        return self.inner.bound

    @property
    def streams(self) -> bool:
        """As the provider's call."""
        return self.inner.streams

    async def send(self, grant: Grant) -> Reply:
        """Ask the model; what it cost is booked also when its answer is not the JSON asked for.

        Raises:
            CallFailed: From the provider, or because the answer is no JSON.
        """
        reply = await self.inner.send(grant)
        if self.stage.answers is Answers.TEXT:
            return reply
        return Reply(
            value=_read_json(reply),
            cost=reply.cost,
            usage=reply.usage,
            model=reply.model,
            finish=reply.finish,
            note=reply.note,
        )


def provider_of(model: str, providers: Mapping[str, Provider]) -> Provider:
    """Return the provider named before the first slash of *model*.

    Raises:
        NotFound: It is not among *providers*.
    """
    name, slash, _ = model.partition("/")
    if slash and name in providers:
        return providers[name]
    known = ", ".join(sorted(providers)) or "none"
    hint = f"models are named provider/model; configured providers: {known}"
    raise NotFound(kind="provider", name=name if slash else model, hint=hint)


def _read_json(reply: Reply) -> Any:
    text = reply.value
    if not isinstance(text, str):
        return text
    fenced = _FENCE.fullmatch(text)
    try:
        return json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError) as error:
        raise CallFailed(
            detail=f"the model's answer is not the JSON asked for: {error}",
            billed="unknown" if reply.cost is None else "yes",
            retryable=True,
            usage=reply.usage,
            cost=reply.cost,
        ) from None
