"""Stages that ask a model: a prompt template filled from the input, the answer as text or JSON."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from earmark.admission.call import (
    Call,
    Grant,
    ModelRequest,
    Provider,
    Reply,
    WrappedCall,
)
from earmark.clock import NANOS_PER_SECOND, parse_duration
from earmark.composition.catalogue import Quote
from earmark.composition.effects import NETWORK, NON_DETERMINISTIC, Llm
from earmark.composition.types import ANY, TEXT, NType, Record
from earmark.errors import BudgetExceeded, InvalidStage, NotFound
from earmark.money import Money
from earmark.pricing.bound import ModelBound
from earmark.pricing.price import Price
from earmark.pricing.usage import Usage
from earmark.stages.kinds.declare import EffectLike, declare
from earmark.stages.kinds.jsontext import Json, read_json
from earmark.stages.kinds.kind import Tools
from earmark.stages.kinds.template import WHOLE_INPUT, Template, parse_template
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
        bound = self._provider_call(empty, tools).bound
        if not isinstance(bound, ModelBound):
            return Quote(_NOTHING, bound.cost() if not empty else None)
        minimum = _minimum_cost(bound.price)
        if not empty:
            return Quote(minimum, bound.cost(), hold=minimum)
        window = bound.context_window
        if window is None:
            return Quote(minimum, None, "its prompt decides how much goes in", hold=minimum)
        most = max(window, bound.input_tokens)
        return Quote(
            minimum,
            replace(bound, input_tokens=most).cost(),
            "a full context window at most",
            hold=minimum,
        )

    def call(self, value: Json, tools: Tools) -> Call:
        """Return the provider's call for the filled prompt."""
        return ModelStageCall(self.answers, self._provider_call(value, tools))

    def _provider_call(self, value: Json, tools: Tools) -> Call:
        request = ModelRequest(
            model=self.model,
            messages=self._messages(value),
            max_tokens=self.max_tokens,
            options=self.options,
            within_s=tools.wait_s + (tools.timeout_s if self.timeout_s is None else self.timeout_s),
        )
        return provider_of(self.model, tools.providers).call(request)

    def _messages(self, value: Json) -> list[dict[str, str]]:
        user_prompt = {"role": "user", "content": self.prompt.fill(value)}
        if self.system is None:
            return [user_prompt]
        return [{"role": "system", "content": self.system.fill(value)}, user_prompt]


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
    user_prompt = parse_template(prompt)
    system_prompt = None if system is None else parse_template(system, "system")
    texts = {"model": model, "prompt": prompt, "system": system, "answers": str(answers)}
    implementation = {**texts, "max_tokens": max_tokens, "options": dict(options or {})}
    if effects is None:
        effects = (Llm(model), NETWORK, NON_DETERMINISTIC)
    return ModelStage(
        spec=_spec(name, implementation, effects, fields_of(user_prompt, system_prompt)),
        model=model,
        prompt=user_prompt,
        system=system_prompt,
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
    if len(names) <= 1 or WHOLE_INPUT in names:
        return ANY
    return Record(dict.fromkeys(names, ANY))


def _minimum_cost(price: Price) -> Money:
    try:
        return min(
            price.cost(Usage.of(input_tokens=1)),
            price.cost(Usage.of(input_tokens=1, cache_read_tokens=1)),
        )
    except BudgetExceeded:
        return _NOTHING


class ModelStageCall(WrappedCall):
    """A provider's call whose answer becomes the stage's output."""

    __slots__ = ("_answers",)

    def __init__(self, answers: Answers, inner: Call) -> None:
        super().__init__(inner)
        self._answers = answers

    def rewrap(self, inner: Call) -> "ModelStageCall":
        """Return the stage's call around *inner*."""
        return ModelStageCall(self._answers, inner)

    async def send(self, grant: Grant) -> Reply:
        """Make the call; its cost is booked also when the answer is not the requested JSON.

        Raises:
            CallFailed: From the provider, or because the answer is no JSON.
        """
        reply = await self.inner.send(grant)
        text = reply.value
        if self._answers is Answers.TEXT or not isinstance(text, str):
            return reply
        fenced = _FENCE.fullmatch(text)
        try:
            return replace(reply, value=read_json(fenced[1] if fenced else text))
        except ValueError as error:
            raise reply.failure(f"the model's answer is not the JSON asked for: {error}") from None


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
