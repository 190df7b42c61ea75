"""Stages that ask a model: a prompt template filled from the input, the answer as text or JSON."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from earmark.admission.call import (
    Call,
    CountInput,
    Grant,
    ModelRequest,
    Provider,
    Reply,
    counting_inside,
)
from earmark.clock import NANOS_PER_SECOND, parse_duration
from earmark.composition.catalogue import Quote
from earmark.composition.effects import NETWORK, NON_DETERMINISTIC, Llm
from earmark.composition.types import ANY, TEXT, NType, Record
from earmark.errors import BudgetExceeded, CallFailed, InvalidStage, NotFound
from earmark.money import Money
from earmark.pricing.bound import Bound, ModelBound
from earmark.pricing.price import Price
from earmark.pricing.usage import Usage
from earmark.stages.kinds.declare import EffectLike, declare
from earmark.stages.kinds.jsontext import Json, read_json
from earmark.stages.kinds.kind import Tools
from earmark.stages.kinds.template import WHOLE, Template, parse_template
from earmark.stages.stage import StageSpec

_NOTHING: Final = Money()
_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


class Answers(StrEnum):
    """What a model stage makes of the model's text."""

    TEXT = "text"
    JSON = "json"
    """The text read as JSON, a Markdown fence taken off; text that is none is a failure."""


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

    @property
    def free(self) -> bool:
        """Never: `calls` and `tokens` limits count it even where the model is free."""
        return False

    def quote(self, tools: Tools) -> Quote | None:
        """Return what one question can cost, as far as its input does not matter.

        At the least one input token, perhaps a cached one, as a model that was asked has read
        something. At the most a
        full context window and all output tokens; nobody knows where the window is not known and
        the prompt has fields.
        """
        empty = dict.fromkeys(fields_of(self.prompt, self.system), "")
        bound = self._ask(empty, tools).bound
        if not isinstance(bound, ModelBound):
            return Quote(_NOTHING, bound.cost() if not empty else None)
        least = _least(bound.price)
        if not empty:
            return Quote(least, bound.cost(), hold=least)
        window = bound.context_window
        if window is None:
            return Quote(least, None, "its prompt decides how much goes in", hold=least)
        most = max(window, bound.input_tokens)
        return Quote(
            least,
            replace(bound, input_tokens=most).cost(),
            "a full context window at most",
            hold=least,
        )

    def call(self, value: Json, tools: Tools) -> Call:
        """Return the provider's call for the filled prompt."""
        return ModelStageCall(self, self._ask(value, tools))

    def _ask(self, value: Json, tools: Tools) -> Call:
        request = ModelRequest(
            model=self.model,
            messages=self._messages(value),
            max_tokens=self.max_tokens,
            options=self.options,
            within_s=tools.wait_s + (tools.timeout_s if self.timeout_s is None else self.timeout_s),
        )
        return provider_of(self.model, tools.providers).call(request)

    def _messages(self, value: Json) -> list[dict[str, str]]:
        asked = {"role": "user", "content": self.prompt.fill(value)}
        if self.system is None:
            return [asked]
        return [{"role": "system", "content": self.system.fill(value)}, asked]


def model_stage(
    name: str,
    model: str,
    prompt: str,
    *,
    system: str | None = None,
    max_tokens: int | None = None,
    answers: Answers | str = Answers.TEXT,
    options: Mapping[str, Any] | None = None,
    effects: Iterable[EffectLike] | None = None,
    timeout: str | float | None = None,
) -> ModelStage:
    """Return the stage that asks *model* (`provider/model`) the *prompt*, its fields filled in.

    Args:
        name: By which compositions refer to it.
        model: Of which provider, and which of its models.
        prompt: `{field}` is filled from the input, `{{` and `}}` are literal braces.
        system: A system prompt, filled the same way.
        max_tokens: The most output tokens; the provider's default unless given.
        answers: `text`, or `json` to have the answer read as JSON.
        options: Passed to the provider as they are: temperature, seed …
        effects: What it does besides asking a model.
        timeout: How long an attempt may take; the run's own unless given.

    Raises:
        InvalidConfig, InvalidStage: The prompt is no template; the model or an effect is none.
    """
    _check_model(model)
    asked = parse_template(prompt)
    told = None if system is None else parse_template(system, "system")
    texts = {"model": model, "prompt": prompt, "system": system, "answers": str(answers)}
    implementation = {**texts, "max_tokens": max_tokens, "options": dict(options or {})}
    if effects is None:
        effects = (Llm(model), NETWORK, NON_DETERMINISTIC)
    return ModelStage(
        spec=_spec(name, implementation, effects, fields_of(asked, told)),
        model=model,
        prompt=asked,
        system=told,
        max_tokens=max_tokens,
        answers=Answers(answers),
        options=dict(options or {}),
        timeout_s=None if timeout is None else parse_duration(timeout) / NANOS_PER_SECOND,
    )


def _spec(
    name: str,
    implementation: Mapping[str, Any],
    effects: Iterable[EffectLike],
    names: tuple[str, ...],
) -> StageSpec:
    return declare(
        name,
        "model",
        implementation=implementation,
        effects=effects,
        cost=None,
        input=_input_type(names),
        output=TEXT if implementation["answers"] == Answers.TEXT else ANY,
    )


def _check_model(model: str) -> None:
    if "/" not in model:
        detail = f"'{model}' names no provider: write provider/model"
        raise InvalidStage(place="/model", detail=detail)


def fields_of(*templates: Template | None) -> tuple[str, ...]:
    """Return the input fields that the templates need, each once."""
    named = (name for each in templates if each is not None for name in each.fields)
    return tuple(dict.fromkeys(named))


def _input_type(names: tuple[str, ...]) -> NType:
    # A single field also takes an input that is no object, and `input` may mean all of it.
    if len(names) <= 1 or WHOLE in names:
        return ANY
    return Record(dict.fromkeys(names, ANY))


def _least(price: Price) -> Money:
    try:
        return min(
            price.cost(Usage.of(input_tokens=1)),
            price.cost(Usage.of(input_tokens=1, cache_read_tokens=1)),
        )
    except BudgetExceeded:
        return _NOTHING


@dataclass(frozen=True, slots=True)
class ModelStageCall:
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

    @property
    def count_input(self) -> CountInput | None:
        """As the provider's call."""
        return counting_inside(self.inner, lambda counted: ModelStageCall(self.stage, counted))

    async def send(self, grant: Grant) -> Reply:
        """Ask the model; what it cost is booked also when its answer is not the JSON asked for.

        Raises:
            CallFailed: From the provider, or because the answer is no JSON.
        """
        reply = await self.inner.send(grant)
        if self.stage.answers is Answers.TEXT:
            return reply
        return replace(reply, value=_read_json(reply))


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


def _read_json(reply: Reply) -> Json:
    text = reply.value
    if not isinstance(text, str):
        return text
    fenced = _FENCE.fullmatch(text)
    try:
        return read_json(fenced[1] if fenced else text)
    except ValueError as error:
        raise CallFailed(
            detail=f"the model's answer is not the JSON asked for: {error}",
            billed="unknown" if reply.cost is None else "yes",
            retryable=True,
            usage=reply.usage,
            cost=reply.cost,
            known_cost=reply.known_cost,
            unknown=reply.unknown,
            model=reply.model,
            request_id=reply.request_id,
        ) from None
