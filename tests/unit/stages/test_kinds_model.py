"""Model stages: prompts filled from the input, answers as text or JSON, costs by the provider."""

import asyncio
from typing import Any

import pytest

from earmark.admission.call import Grant, Reply
from earmark.composition.types import ANY, TEXT, Record
from earmark.errors import CallFailed, InvalidConfig, InvalidStage, NotFound
from earmark.money import Money
from earmark.stages.kinds.kind import Tools
from earmark.stages.kinds.model import ModelStage, model_stage
from earmark.stages.kinds.template import parse_template
from earmark.testing.scripted import Answer, ScriptedProvider


async def _quiet(_: int) -> None:
    """Nothing grows."""


GRANT = Grant(max_output_tokens=100, timeout_s=60.0, available=Money(1), produced=_quiet)


def ask(made: ModelStage, value: Any, provider: ScriptedProvider) -> Reply:
    """Ask the model once."""
    call = made.call(value, Tools(providers={"scripted": provider}))
    return asyncio.run(call.send(GRANT))


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("Say {a}.", {"a": "hi", "b": 1}, "Say hi."),
        ("{a} {a}", {"a": 1}, "1 1"),
        ("{a}", "a bare input", "a bare input"),
        ("{a}", ["x", None], '["x",null]'),
        ("{a.b}", {"a": {"b": True}}, "true"),
        ("{input}", {"a": "ü"}, '{"a":"ü"}'),
        ("{a} of {input}", {"a": 1}, '1 of {"a":1}'),
        ("{input}", {"input": "own field"}, "own field"),
        ('{{"json": {a}}}', {"a": 2}, '{"json": 2}'),
        ("{{a}} }}{{", {}, "{a} }{"),
        ("no fields", None, "no fields"),
        ("{a}", {"a": "{b}"}, "{b}"),
    ],
)
def test_template_is_filled_from_the_input(text: str, value: Any, expected: str) -> None:
    """Fields are put in as text, other values as JSON, doubled braces as braces; nothing else."""
    assert parse_template(text).fill(value) == expected


@pytest.mark.parametrize(
    "text", ["{", "}", "{}", "{a b}", "{a!r}", "{a[0]}", "{0}", "a } b", "{{a}"]
)
def test_template_that_is_none_is_refused_with_its_place(text: str) -> None:
    """A lone brace or a placeholder that is no field name is refused where it is written."""
    with pytest.raises(InvalidConfig) as caught:
        parse_template(text, "stages.draft.prompt")
    assert caught.value.place == "stages.draft.prompt"


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"b": 1}, "it has b"),
        ({}, "no fields"),
        ("bare", "no object"),
        ({"a": {"x": 1}}, "it has a"),
    ],
)
def test_missing_field_is_named_and_costs_nothing(value: Any, names: str) -> None:
    """A prompt that lacks a field is not sent; the error says which, and what there is."""
    template = parse_template("{a.c} and {d}")
    with pytest.raises(CallFailed) as caught:
        template.fill(value)
    assert (caught.value.billed, caught.value.retryable) == ("no", False)
    assert names in caught.value.detail


def test_prompt_system_and_limits_reach_the_model() -> None:
    """The model is asked what the stage says, with its options."""
    provider = ScriptedProvider([Answer(text="Yes.")])
    made = model_stage(
        "s", "scripted/m", "Is {a}?", system="Be {b}.", max_tokens=50, options={"temperature": 0}
    )
    reply = ask(made, {"a": "it", "b": "brief"}, provider)
    (sent,) = provider.sent
    assert reply.value == "Yes."
    assert sent.request.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Is it?"},
    ]
    assert (sent.request.max_tokens, sent.request.options) == (50, {"temperature": 0})
    assert reply.cost == Money("0.00002")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[1, 2]", [1, 2]), ('```json\n{"a": 1}\n```', {"a": 1}), ("```\n7\n```", 7), (' "x" ', "x")],
)
def test_answer_is_read_as_json_when_asked(text: str, expected: Any) -> None:
    """JSON is read with or without a fence around it."""
    made = model_stage("s", "scripted/m", "x", answers="json")
    assert ask(made, None, ScriptedProvider([Answer(text=text)])).value == expected


@pytest.mark.parametrize(
    "text", ["", "Sure! [1]", "{", "NaN", "[" * 100_000], ids=["", "chat", "{", "NaN", "deep"]
)
def test_answer_that_is_not_the_json_asked_for_is_paid_and_fails(text: str) -> None:
    """The model was asked and billed; the stage failed and may be repeated."""
    made = model_stage("s", "scripted/m", "x", answers="json")
    with pytest.raises(CallFailed) as caught:
        ask(made, None, ScriptedProvider([Answer(text=text)]))
    failure = caught.value
    assert (failure.billed, failure.cost, failure.retryable) == ("yes", Money("0.00002"), True)
    assert failure.usage.tokens == 15


def test_types_follow_the_prompt() -> None:
    """A prompt with several fields takes a record of them; with one, anything."""
    made = model_stage("s", "scripted/m", "{a} {b.c}", system="{d}")
    assert made.spec.input == Record({"a": ANY, "b": ANY, "d": ANY})
    assert made.spec.output == TEXT
    assert model_stage("s", "scripted/m", "{a}").spec.input == ANY
    assert model_stage("s", "scripted/m", "x", answers="json").spec.output == ANY


def quote(prompt: str, *, window: int | None = None) -> Any:
    """Return what asking costs, as far as is known without an input."""
    provider = ScriptedProvider(context_window=window)
    made = model_stage("s", "scripted/m", prompt, max_tokens=100)
    return made.quote(Tools(providers={provider.name: provider}))


def test_quote_of_a_fixed_prompt_is_its_bound() -> None:
    """A prompt without fields can cost no more than its own bound, and at least one token in."""
    quoted = quote("Say hi.")
    assert quoted.min == Money("0.000001")
    assert quoted.max is not None
    assert Money("0.0002") < quoted.max < Money("0.001")


def test_quote_of_an_open_prompt_is_a_full_context_window() -> None:
    """A prompt with fields can fill the model's context window, where the user says so."""
    assert quote("Say {a}.").max is None
    window = quote("Say {a}.", window=8192)
    assert window.max is not None
    assert window.max > quote("Say hi.", window=8192).max > window.min > Money()


@pytest.mark.parametrize("model", ["gpt", "", "/x/y"])
def test_model_without_a_provider_is_refused(model: str) -> None:
    """Models are named provider/model, and the provider must be one of the run's."""
    with pytest.raises((InvalidStage, NotFound)):
        model_stage("s", model, "x").call(None, Tools())


def test_unknown_provider_is_named_with_the_known_ones() -> None:
    """The error says which providers there are."""
    with pytest.raises(NotFound, match="configured providers: scripted"):
        model_stage("s", "other/m", "x").call(
            None, Tools(providers={"scripted": ScriptedProvider()})
        )
