"""From settings to live objects: prices, providers, stages, the policy, budgets in the books."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from earmark.admission.call import ModelRequest
from earmark.admission.policy import ELASTIC, SOFT, STRICT
from earmark.composition.types import ANY, TEXT
from earmark.config.assemble import (
    Providers,
    key_from,
    no_key,
    policy_of,
    price_book,
    stages_of,
)
from earmark.config.budgets import apply_budgets
from earmark.config.load import load_settings
from earmark.config.settings import Settings
from earmark.errors import BudgetExceeded, InvalidConfig
from earmark.money import Money
from earmark.pricing.usage import Usage
from earmark.stages.kinds.model import ModelStage
from earmark.stages.kinds.process import ProcessStage
from earmark.stages.kinds.python import PythonStage
from earmark.stages.kinds.remote import RemoteKind
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock

PRICED = '[prices."local/m"]\ninput_mtok = "1"\noutput_mtok = "2"\n'
LOCAL = '[providers.local]\napi = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n'
ASK = ModelRequest(model="local/m", messages=[{"role": "user", "content": "hi"}])


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    """Return the settings that a text of earmark.toml is."""

    def read(text: str) -> Settings:
        file = tmp_path / "earmark.toml"
        file.write_text(text)
        return load_settings(file, {})

    return read


def providers(settings: Settings, environ: dict[str, str] | None = None) -> Providers:
    """Return the providers of *settings*; with *environ*, their keys are from there."""
    key = no_key if environ is None else key_from(environ)
    return Providers(settings, book=price_book(settings), clock=ManualClock(), key=key)


@pytest.mark.parametrize(
    ("name", "policy"), [("strict", STRICT), ("elastic", ELASTIC), ("soft", SOFT)]
)
def test_policies(settings: Any, name: str, policy: object) -> None:
    """Each policy has its name; without one it is strict."""
    assert policy_of(settings(f'[admission]\npolicy = "{name}"\n')) is policy
    assert policy_of(settings("")) is STRICT


def test_own_prices_and_free_models(settings: Any) -> None:
    """Own prices are in the book; a model priced 0 runs only where it is named."""
    clock = ManualClock()
    free = '[prices."local/free"]\ninput_mtok = "0"\noutput_mtok = "0"\n'
    book = price_book(settings(PRICED + free))
    price = book.resolve("local/m", at=clock.instant())
    assert price.cost(Usage.of(input_tokens=1_000_000)) == Money(1)
    with pytest.raises(BudgetExceeded):
        book.resolve("local/free", at=clock.instant())
    allowed = price_book(settings(free + '[admission]\nallow_free = ["local/free"]\n'))
    assert not allowed.resolve("local/free", at=clock.instant()).cost(Usage.of(input_tokens=9))


def test_a_provider_is_opened_when_it_is_asked_for(settings: Any) -> None:
    """It is the same one each time, prices by the book, and closes once."""
    found = providers(settings(PRICED + LOCAL + "max_tokens = 7\n"))
    assert set(found) == {"anthropic", "google", "local", "openai"}
    assert found["local"] is found["local"]
    assert found["local"].call(ASK).bound.max_output_tokens == 7
    asyncio.run(found.aclose())


def test_an_option_beyond_the_table_is_allowed_by_name(settings: Any) -> None:
    """`[apis.name.options]` vouches for an option of an API; no other rule than text is taken."""
    request = ModelRequest(
        model="local/m",
        messages=[{"role": "user", "content": "hi"}],
        options={"my_knob": 1},
    )
    with pytest.raises(BudgetExceeded, match="my_knob"):
        providers(settings(PRICED + LOCAL))["local"].call(request)
    allowed = '[apis.openai.options]\nmy_knob = "{}"\n'
    assert providers(settings(PRICED + LOCAL + allowed.format("text")))["local"].call(request)
    with pytest.raises(InvalidConfig, match="my_knob"):
        settings(PRICED + LOCAL + allowed.format("anything"))
    with pytest.raises(InvalidConfig, match="openai-responses"):
        settings('[apis.telepathy.options]\nmy_knob = "text"\n')
    other = '[apis.anthropic.options]\nmy_knob = "text"\n'
    with pytest.raises(BudgetExceeded, match=r"\[apis.openai.options\] my_knob"):
        providers(settings(PRICED + LOCAL + other))["local"].call(request)


@pytest.mark.parametrize("name", ["extra_body", "timeout", "best_of", "fallbacks"])
def test_an_option_that_may_ask_for_more_than_text_is_not_allowed(settings: Any, name: str) -> None:
    """It is refused when the file is read, not first when a call is made."""
    with pytest.raises(InvalidConfig, match=f"'{name}' cannot be allowed"):
        settings(f'[apis.openai.options]\n{name} = "text"\n')


def test_a_missing_key_is_told_when_it_is_needed(settings: Any) -> None:
    """Named by its variable, only for the provider that is used; an empty one is missing."""
    text = PRICED + LOCAL + 'api_key_env = "MY_KEY"\n'
    for environ in ({}, {"MY_KEY": ""}):
        found = providers(settings(text), environ)
        assert "local" in found
        with pytest.raises(InvalidConfig, match="the variable MY_KEY holds no key"):
            found["local"]
    with pytest.raises(InvalidConfig, match="OPENAI_API_KEY"):
        providers(settings(""), {})["openai"]
    assert providers(settings(text), {"MY_KEY": "secret"})["local"]


def test_a_key_is_never_shown(settings: Any) -> None:
    """Neither the mapping nor a provider has the key in its repr."""
    text = PRICED + LOCAL + 'api_key_env = "MY_KEY"\n'
    found = providers(settings(text), {"MY_KEY": "secret-123"})
    assert "secret-123" not in f"{found['local']!r} {found!r} {vars(found)}"


def test_a_plan_needs_no_key(settings: Any) -> None:
    """Calls are priced without the key that making them would need."""
    found = providers(settings(PRICED + LOCAL + 'api_key_env = "MY_KEY"\n'))
    assert found["local"].call(ASK).bound.cost()


STAGES = """
[stages.think]
kind = "model"
model = "local/m"
prompt = "Think about {topic}."
max_tokens = 9
timeout = "30s"
output = "Text"

[stages.count]
kind = "process"
argv = ["wc", "-w"]
cost = "0.01"
timeout = "2s"
max_output = 1000
input = {kind = "Text"}

[stages.fetch]
kind = "remote"
url = "http://127.0.0.1:1/fetch"
cost = {cents = 5}
effects = ["Network"]

[stages.shout]
kind = "python"
function = "assembled_one:shout"
cost = "0.02"
"""
MODULE = """
from earmark.stages.kinds.python import stage

def shout(text):
    return text.upper()

@stage(cost="0.07")
def whisper(text):
    return text.lower()
"""


def test_every_kind_of_stage(settings: Any, tmp_path: Path) -> None:
    """Each table becomes its kind of stage, with its name, price, limits and types."""
    (tmp_path / "assembled_one.py").write_text(MODULE)
    found = {stage.spec.name: stage for stage in stages_of(settings(STAGES))}
    think, count, fetch, shout = (found[name] for name in ("think", "count", "fetch", "shout"))
    assert isinstance(think, ModelStage)
    assert (think.max_tokens, think.timeout_s) == (9, 30)
    assert think.spec.output == TEXT
    assert isinstance(count, ProcessStage)
    assert (count.output_limit_bytes, count.timeout_s, count.directory) == (1000, 2, tmp_path)
    assert count.spec.input == TEXT
    assert count.cost == Money("0.01")
    assert isinstance(fetch, RemoteKind)
    assert fetch.spec.effects.cost == Money("0.05")
    assert fetch.spec.effects.names == {"cost", "network"}
    assert isinstance(shout, PythonStage)
    assert shout("hi") == "HI"
    assert shout.spec.effects.cost == Money("0.02")
    assert shout.spec.input == ANY


def test_a_declared_function_says_everything_itself(settings: Any, tmp_path: Path) -> None:
    """A function under `@stage` is taken as it is, by its name in the file; no second truth."""
    (tmp_path / "assembled_two.py").write_text(MODULE)
    text = '[stages.quiet]\nkind = "python"\nfunction = "assembled_two:whisper"\n'
    (quiet,) = stages_of(settings(text))
    assert quiet.spec.name == "quiet"
    assert quiet.spec.effects.cost == Money("0.07")
    with pytest.raises(InvalidConfig, match=r"stages\.quiet\.cost.*declared by @stage"):
        stages_of(settings(text + 'cost = "0.01"\n'))


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        ("no_such_module:f", "ModuleNotFoundError"),
        ("math:no_such_function", "AttributeError"),
        ("math:pi", "is no function"),
    ],
)
def test_a_function_that_is_none(settings: Any, function: str, complaint: str) -> None:
    """What cannot be imported or called is refused with its place and the reason."""
    with pytest.raises(InvalidConfig, match=complaint) as refused:
        stages_of(settings(f'[stages.x]\nkind = "python"\nfunction = "{function}"\n'))
    assert refused.value.place == "stages.x.function"


def test_modules_beside_the_file_are_found(settings: Any, tmp_path: Path) -> None:
    """The file's folder is looked in, however often stages are made, once."""
    (tmp_path / "assembled_three.py").write_text(MODULE)
    text = '[stages.s]\nkind = "python"\nfunction = "assembled_three:shout"\n'
    for _ in range(2):
        stages_of(settings(text))
    assert sys.path.count(str(tmp_path)) == 1


BUDGETS = '[budgets.a]\nlimits = ["1 usd total"]\n[budgets."a/b"]\ntimezone = "Asia/Tokyo"\n'


def test_budgets_are_set_once(settings: Any) -> None:
    """What the books have otherwise is set by the actor `configuration`; again does nothing."""
    with open_ledger("memory:") as ledger:
        assert apply_budgets(settings(BUDGETS), ledger) == ["a", "a/b"]
        assert '"actor": "configuration"' in ledger.entries()[0].data
        assert apply_budgets(settings(BUDGETS), ledger) == []
        assert len(ledger.entries()) == 2
        more = BUDGETS.replace("1 usd", "2 usd")
        assert apply_budgets(settings(more), ledger) == ["a"]
        assert str(ledger.balances("a")[0].limit) == "2"


def test_budgets_of_the_books_alone_stay(settings: Any) -> None:
    """Other budgets, pauses and what was spent are left as they are."""
    with open_ledger("memory:") as ledger:
        ledger.set_budget("other", limits=["5 usd total"])
        apply_budgets(settings(BUDGETS), ledger)
        ledger.settle(ledger.reserve("a", "0.5").key, "0.5")
        ledger.pause("a", actor="ann")
        apply_budgets(settings(BUDGETS.replace("1 usd", "2 usd")), ledger)
        assert [budget.path for budget in ledger.budgets()] == ["a", "a/b", "other"]
        assert str(ledger.balances("a")[0].available) == "1.5"
        assert ledger.budgets("a")[0].paused is not None


def test_without_budgets_the_books_are_not_touched(settings: Any) -> None:
    """No table, no entry."""
    with open_ledger("memory:") as ledger:
        assert apply_budgets(settings(""), ledger) == []
        assert ledger.entries() == []
