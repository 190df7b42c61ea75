"""`earmark.toml`: what it may hold and what is made of it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from earmark.budget.limit import Limit
from earmark.composition.effects import NETWORK, EffectSet, FsRead
from earmark.composition.types import ListOf, Primitive
from earmark.config.load import find_config, load_settings
from earmark.config.settings import (
    FIXED,
    NAMED,
    Document,
    HeartbeatSettings,
    ProviderSettings,
    Settings,
)
from earmark.config.stage_settings import (
    ModelStageSettings,
    ProcessStageSettings,
    PythonStageSettings,
    RemoteStageSettings,
)
from earmark.errors import InvalidConfig
from earmark.money import Money
from earmark.pricing.book import PriceBook

EXAMPLE = """\
[store]
url = "sqlite:///earmark.db"

[budgets."c8"]
limits = ["10 usd per day"]
timezone = "UTC"
alerts = [0.8, 1.0]

[budgets."c8/cloud-lu"]
limits = ["0.50 usd per 30min", "3 calls per 30min"]

[prices."local/smollm2-135m"]        # provider/model: USD per million units of each usage kind
input_mtok = "0.10"
output_mtok = "0.40"

[providers.local]
api = "openai"                       # openai | anthropic
base_url = "http://127.0.0.1:8080/v1"
api_key_env = "LOCAL_API_KEY"        # the variable's name, never the key

[stages.draft]
kind = "model"                       # python | process | model | remote
model = "local/smollm2-135m"
prompt = "Write one paragraph about {topic}."
max_tokens = 200

[heartbeat]
agent = "Cloud Lu"
sibling = "AG Lu"
budget = "c8/cloud-lu"
model = "anthropic/claude-sonnet-4-20250514"
interval = "30min"
max_dispatches = 3
persist_every = 10
"""


def load(folder: Path, text: str, **environ: str) -> Settings:
    """Return the settings of a file with *text*."""
    file = folder / "earmark.toml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file, environ)


def refused(folder: Path, text: str, **environ: str) -> InvalidConfig:
    """Return the error that a file with *text* raises; it is one sentence and not a long one."""
    with pytest.raises(InvalidConfig) as caught:
        load(folder, text, **environ)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(folder))
    return caught.value


def test_the_documented_example_reads(tmp_path: Path) -> None:
    """The example of the documentation is a configuration, every table of it."""
    settings = load(tmp_path, EXAMPLE)
    assert settings.budgets["c8"].limits == (Limit.parse("10 usd per day"),)
    assert settings.budgets["c8"].alerts == (0.8, 1.0)
    assert settings.budgets["c8/cloud-lu"].given().get("timezone") is None
    assert [str(x) for x in settings.budgets["c8/cloud-lu"].limits or ()] == [
        "0.5 usd per 30min",
        "3 calls per 30min",
    ]
    assert settings.prices == {"local/smollm2-135m": {"input_mtok": "0.10", "output_mtok": "0.40"}}
    assert PriceBook(settings.prices).resolve("local/smollm2-135m", at=0).model == "smollm2-135m"
    local = settings.providers["local"]
    assert (local.api, local.base_url) == ("openai", "http://127.0.0.1:8080/v1")
    assert local.key_variable == "LOCAL_API_KEY"
    draft = settings.stages["draft"]
    assert isinstance(draft, ModelStageSettings)
    assert (draft.model, draft.max_tokens, draft.system) == ("local/smollm2-135m", 200, None)
    assert settings.heartbeat.interval == timedelta(minutes=30)
    assert (settings.heartbeat.budget, settings.heartbeat.max_dispatches) == ("c8/cloud-lu", 3)


def test_nothing_configured_gives_the_defaults(tmp_path: Path) -> None:
    """With no file and no variable there is a store in the working directory and nothing else."""
    settings = load_settings(None, {}, start=tmp_path)
    assert settings.store.url == "sqlite:///earmark.db"
    assert settings.file is None
    assert settings.heartbeat == HeartbeatSettings()
    for tables in (settings.budgets, settings.prices, settings.providers, settings.stages):
        assert tables == {}
    assert (settings.admission.policy, settings.admission.wait) == ("strict", None)
    assert settings == load_settings(None, {}, start=tmp_path)


def test_every_kind_of_stage_reads(tmp_path: Path) -> None:
    """Python, process, model and remote stages, with their costs, types, effects and limits."""
    stages = load(
        tmp_path,
        """
        [stages.shout]
        kind = "python"
        function = "my.stages:Shout.run"
        cost = "0.05"
        timeout = "1min"
        input = "Text"
        output = {kind = "List", value = {kind = "Text"}}
        effects = ["Network", {effect = "FsRead", path = "/tmp"}]
        [stages.names]
        kind = "process"
        argv = ["jq", ".name", ""]
        cost = {cents = 5}
        max_output = 1000
        prints = "envelope"
        [stages.ask]
        kind = "model"
        model = "openrouter/meta/llama"
        prompt = "{input}"
        system = "Be brief."
        options = {temperature = 0.2, stop = ["x"]}
        answers = "json"
        [stages.far]
        kind = "remote"
        url = "https://stages.example/run"
        cost = {usd = "1.5"}
        """,
    ).stages
    shout = stages["shout"]
    assert isinstance(shout, PythonStageSettings)
    assert shout.cost == Money("0.05")
    assert shout.timeout == timedelta(seconds=60)
    assert (shout.input, shout.output) == (Primitive("Text"), ListOf(Primitive("Text")))
    assert shout.effects == EffectSet([NETWORK, FsRead("/tmp")])  # noqa: S108 - a name only
    names = stages["names"]
    assert isinstance(names, ProcessStageSettings)
    assert (names.argv, names.cost) == (("jq", ".name", ""), Money("0.05"))
    assert (names.max_output, names.prints) == (1000, "envelope")
    ask = stages["ask"]
    assert isinstance(ask, ModelStageSettings)
    assert (ask.options, ask.answers) == ({"temperature": 0.2, "stop": ["x"]}, "json")
    far = stages["far"]
    assert isinstance(far, RemoteStageSettings)
    assert (far.url, far.cost) == ("https://stages.example/run", Money("1.5"))


def test_admission_and_run_read(tmp_path: Path) -> None:
    """The policy, how long to wait, what may be free, and how much runs at once."""
    settings = load(
        tmp_path,
        """
        [admission]
        policy = "elastic"
        wait = "0s"
        allow_free = ["local/smollm2-135m"]
        allow_unpriced = ["network", "llm"]
        [run]
        concurrency = 8
        max_repeats = 0
        """,
    )
    assert settings.admission.policy == "elastic"
    assert settings.admission.wait == timedelta(0)
    assert settings.admission.allow_free == ("local/smollm2-135m",)
    assert settings.admission.allow_unpriced == ("network", "llm")
    assert (settings.run.concurrency, settings.run.max_repeats) == (8, 0)


def test_the_nearest_file_above_is_found(tmp_path: Path) -> None:
    """The file is looked for from the working directory upwards, and the nearest one counts."""
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "earmark.toml").write_text('[store]\nurl = "sqlite:///far.db"\n')
    assert find_config(deep) == tmp_path / "earmark.toml"
    assert load_settings(None, {}, start=deep).store.url == f"sqlite:///{tmp_path}/far.db"
    (tmp_path / "a" / "earmark.toml").write_text('[store]\nurl = "sqlite:///near.db"\n')
    assert load_settings(None, {}, start=deep).store.url == f"sqlite:///{tmp_path}/a/near.db"
    assert load_settings(None, {}, start=deep).file == tmp_path / "a" / "earmark.toml"
    elsewhere = {"EARMARK_CONFIG": str(tmp_path / "earmark.toml")}
    assert load_settings(None, elsewhere, start=deep).file == tmp_path / "earmark.toml"


def test_a_store_in_a_file_is_beside_it(tmp_path: Path) -> None:
    """A relative store is the same books from whatever folder the program is started."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "earmark.toml").write_text('[store]\nurl = "sqlite:///books.db"\n')
    for start in (tmp_path, tmp_path / "sub"):
        url = load_settings(None, {}, start=start).store.url
        assert url == f"sqlite:///{tmp_path}/books.db"
    for url in ("memory:", "sqlite:////srv/books.db", "postgresql://db/books"):
        assert load(tmp_path, f'[store]\nurl = "{url}"\n').store.url == url


def test_settings_do_not_change(tmp_path: Path) -> None:
    """What was checked stays as it was checked."""
    settings = load(tmp_path, EXAMPLE)
    with pytest.raises(ValueError, match="frozen"):
        settings.run = settings.run  # pyright: ignore[reportAttributeAccessIssue] - that is the point
    with pytest.raises(ValueError, match="frozen"):
        settings.budgets["c8"].timezone = "CET"  # pyright: ignore[reportAttributeAccessIssue]


def test_every_section_can_come_from_the_environment() -> None:
    """No table of the file is unknown to the environment's variables."""
    assert {*FIXED, *NAMED} == set(Document.model_fields)


@pytest.mark.parametrize(
    ("text", "setting", "says"),
    [
        ("[stor]\nurl = 'x'", "stor", "unknown setting 'stor': did you mean store?"),
        ("[budget.c8]\nlimits = []", "budget", "did you mean budgets?"),
        ("[run]\nconcurency = 1", "run.concurency", "did you mean concurrency?"),
        ("[run]\nx = 1", "run.x", "there are concurrency, max_repeats"),
        ("[budgets.c8]\nlimit = []", "budgets.c8.limit", "did you mean limits?"),
        ("[store]\nurl = 5", "store.url", "give text in quotes, not 5"),
        ("[store]\nurl = ''", "store.url", "characters"),
        ("store = 5", "store", "give a table, not 5"),
        ("budgets = 5", "budgets", "give a table, not 5"),
        ("prices = [1]", "prices", "give a table, not a list"),
        ("prices.'local/m' = 1", 'prices."local/m"', "give a table, not 1"),
        ("budgets.c8 = 'x'", "budgets.c8", "give a table, not 'x'"),
        ("stages.x = 'x'", "stages.x", "give a table, not 'x'"),
        ("[budgets.'a//b']", 'budgets."a//b"', "is not a budget path"),
        ("[budgets.c8]\nlimits = '1 usd total'", "budgets.c8.limits", "list in square brackets"),
        ("[budgets.c8]\nlimits = [1.5]", "budgets.c8.limits", "text in quotes, not 1.5"),
        ("[budgets.c8]\nlimits = ['1 eur per day']", "budgets.c8.limits", "usd, calls, tokens"),
        ("[budgets.c8]\nlimits = ['1 usd per eon']", "budgets.c8.limits", "is not a window"),
        ("[budgets.c8]\nlimits = ['-1 usd total']", "budgets.c8.limits", "zero or more"),
        (
            "[budgets.c8]\nlimits = ['1 usd per hour', '2 usd per 60min']",
            "budgets.c8.limits",
            "one limit per unit and window",
        ),
        ("[budgets.c8]\ntimezone = 'Mars/X'", "budgets.c8.timezone", "is not a time zone"),
        ("[budgets.c8]\nalerts = [0.8, nan]", "budgets.c8.alerts", "alert threshold"),
        ("[prices.'local/m']\ninput_mtok = 0.1", 'prices."local/m".input_mtok', "not a float"),
        ("[prices.'local/m']\ninput_mtok = '-1'", 'prices."local/m".input_mtok', "is not from 0"),
        ("[prices.'local/m']\ninput_tokens = '1'", 'prices."local/m"', "'input_tokens' is no kind"),
        ("[prices.m]\ninput_mtok = '1'", 'prices."m"', "provider/model"),
        ("[providers.x]\nbase_url = 'http://h'", "providers.x.api", "give one of openai, "),
        ("[providers.x]\napi = 'cohere'", "providers.x.api", "anthropic, gemini, not 'cohere'"),
        ("[providers.'a/b']\napi = 'openai'", 'providers."a/b"', "is no name"),
        ("[providers.x]\napi = 'openai'\nmax_tokens = 0", "providers.x.max_tokens", "from 1 to"),
        ("[providers.x]\napi = 'openai'\nmax_tokens = true", "providers.x.max_tokens", "not true"),
        ("[providers.x]\napi = 'openai'\nbase_url = 'h:80'", "providers.x.base_url", "no address"),
        (
            "[providers.x]\napi = 'openai'\ncount_tokens = true",
            "providers.x",
            "no endpoint is known that counts requests to API 'openai': leave count_tokens out",
        ),
        (
            "[providers.x]\napi = 'gemini'\ncount_margin = '3 %'",
            "providers.x",
            "count_margin is for count_tokens = true",
        ),
        (
            "[providers.x]\napi = 'gemini'\ncount_tokens = true\ncount_margin = 3",
            "providers.x.count_margin",
            "the margin is '3'; give a share such as '2 %'",
        ),
        ("[stages.x]\nmodel = 'a/b'", "stages.x", "it needs a kind, one of python, process"),
        ("[stages.x]\nkind = 'shell'", "stages.x", "'shell' is no kind of stage"),
        ("[stages.x]\nkind = 'model'\nmodel = 'a/b'", "stages.x.prompt", "it is needed"),
        (
            "[stages.x]\nkind = 'model'\nmodel = 'b'\nprompt = 'p'",
            "stages.x.model",
            "provider/model",
        ),
        (
            "[stages.x]\nkind = 'model'\nmodel = 'a/b'\nprompt = 'a { b'",
            "stages.x.prompt",
            "a lone '{' at character 2",
        ),
        ("[stages.x]\nkind = 'python'\nfunction = 'm'", "stages.x.function", "module:name"),
        ("[stages.x]\nkind = 'process'\nargv = []", "stages.x.argv", "a program and its arguments"),
        ("[stages.x]\nkind = 'process'\nargv = 'ls'", "stages.x.argv", "list in square brackets"),
        ("[stages.x]\nkind = 'process'\nargv = ['ls', 1]", "stages.x.argv", "as a list of texts"),
        ("[stages.x]\nkind = 'remote'\nurl = 'ftp://h'", "stages.x.url", "is no address"),
        ("[heartbeat]\nsibbling = 'a'", "heartbeat.sibbling", "did you mean sibling?"),
        ("[heartbeat]\nagent = '!'", "heartbeat.agent", "'!' is no agent"),
        ("[heartbeat]\nquiet_hours = '22-7'", "heartbeat.quiet_hours", "22:00-07:00"),
        ("[heartbeat]\nquiet_hours = '07:00-07:00'", "heartbeat.quiet_hours", "no part of a day"),
        ("[heartbeat]\ngrade = {}", "heartbeat.grade", "a command or a composition, one"),
        ("[heartbeat]\ngrade = 'x'", "heartbeat.grade", "give a table, not 'x'"),
        ("[heartbeat.grade]\ncomand = ['x']", "heartbeat.grade.comand", "did you mean command?"),
        ("[heartbeat]\naccept = 'all'", "heartbeat.accept", "pass, completed, person, not 'all'"),
        ("[nudges.x]\nurl = 'http://h'", "nudges.x", "it needs a kind, one of apprise, "),
        ("[nudges.x]\nkind = 'mail'", "nudges.x", "'mail' is no kind of channel: give one of"),
        ("[nudges]\nx = 1", "nudges.x", "give a table, not 1"),
        ("[nudges.x]\nkind = 'webhook'", "nudges.x.url", "it is needed and not given"),
        ("[nudges.x]\nkind = 'command'\nargv = 'x'", "nudges.x.argv", "list in square brackets"),
        (
            "[nudges.x]\nkind = 'command'\nargv = ['x']\nurl = 'http://h'",
            "nudges.x.url",
            "unknown setting 'url': there are kind, timeout, argv",
        ),
        ("[service]\nport = 65536", "service.port", "from 0 to 65535, not 65536"),
        ("[service]\nopen_reads = 'yes'", "service.open_reads", "give true or false, not 'yes'"),
        ("[admission]\npolicy = 'lax'", "admission.policy", "strict, elastic, soft, not 'lax'"),
        ("[admission]\nwait = 30", "admission.wait", "give a duration with its unit"),
        ("[admission]\nwait = 'soon'", "admission.wait", "is not a duration"),
        ("[admission]\nallow_unpriced = ['pure']", "admission.allow_unpriced", "llm, network"),
        ("[admission]\nallow_free = ['m']", "admission.allow_free", "provider/model"),
        ("[run]\nconcurrency = 0", "run.concurrency", "from 1 to 10000, not 0"),
        ("[run]\nconcurrency = '8'", "run.concurrency", "not '8'"),
        ("[run]\nconcurrency = 1979-05-27", "run.concurrency", "not a date"),
    ],
)
def test_a_wrong_setting_is_refused_at_its_place(
    tmp_path: Path, text: str, setting: str, says: str
) -> None:
    """Each wrong setting is named with its file, and told what to give instead."""
    error = refused(tmp_path, text)
    assert error.place == f"{setting} in {tmp_path / 'earmark.toml'}"
    assert says in error.detail


@pytest.mark.parametrize(
    ("cost", "says"),
    [
        ("0.05", "decimal string"),
        ("5", "decimal string"),
        ("'-0.05'", "is no price"),
        ("'0.0000000001'", "is no price"),
        ("'lots'", "is no price"),
        ("{cents = 0.5}", "cents"),
        ("{cents = -1}", "cents"),
        ("{usd = 0.05}", "decimal string"),
        ("{cents = 5, usd = '0.05'}", "either"),
        ("{}", "either"),
    ],
)
def test_a_cost_that_is_no_price_is_refused(tmp_path: Path, cost: str, says: str) -> None:
    """Costs are decimal strings or whole cents; a float, a negative or an absurd one is refused."""
    text = f"[stages.x]\nkind = 'python'\nfunction = 'm:f'\ncost = {cost}"
    error = refused(tmp_path, text)
    assert error.place.startswith("stages.x.cost in ")
    assert says in error.detail


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("input = 'Texts'", "Texts"),
        ("output = {kind = 'List'}", "value"),
        ("effects = ['Magic']", "is no effect"),
        ("effects = ['Cost']", "usd"),
        ("timeout = '0s'", "above 0"),
    ],
)
def test_a_wrong_type_or_effect_is_refused(tmp_path: Path, setting: str, says: str) -> None:
    """What composition files refuse is refused in the configuration too."""
    error = refused(tmp_path, f"[stages.x]\nkind = 'python'\nfunction = 'm:f'\n{setting}")
    assert error.place.startswith(f"stages.x.{setting.partition(' ')[0]} in ")
    assert says in error.detail


@pytest.mark.parametrize(
    ("options", "says"), [("{t = nan}", "nan"), ("{t = 1979-05-27}", "date"), ("5", "a table")]
)
def test_options_are_json(tmp_path: Path, options: str, says: str) -> None:
    """What no provider could be sent is refused before it is asked."""
    text = f"[stages.x]\nkind = 'model'\nmodel = 'a/b'\nprompt = 'p'\noptions = {options}"
    assert says in refused(tmp_path, text).detail


SECRET = "sk-ant-REDACTED"  # noqa: S105 - made up


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"[providers.x]\napi = 'openai'\napi_key_env = '{SECRET}'", "never the key"),
        (f"[providers.x]\napi = 'openai'\napi_key = '{SECRET}'", "did you mean api_key_env?"),
        (f"[providers.x]\napi = 'openai'\nbase_url = 'http://u:{SECRET}@h/'", "without user"),
        (f"[providers.x]\napi = 'openai'\nbase_url = 'http://u:{SECRET}@[h/'", "an address"),
        (f"[store]\nurl = ['postgresql://u:{SECRET}@h/db']", "in quotes, not a list"),
        (f"[store]\nkey = '{SECRET}", "not TOML"),
    ],
)
def test_a_key_is_never_shown(tmp_path: Path, text: str, says: str) -> None:
    """A key or password put where it does not belong is refused and not repeated."""
    error = refused(tmp_path, text)
    assert says in error.detail
    assert SECRET not in f"{error}{error!r}{error.__cause__!r}{error.__context__}"


def test_settings_print_without_the_stores_password(tmp_path: Path) -> None:
    """A store's address may hold a password, so settings do not show it."""
    settings = load(tmp_path, f"[store]\nurl = 'postgresql://u:{SECRET}@h/db'")
    assert settings.store.url.endswith("@h/db")
    assert SECRET not in f"{settings!r} {settings}"


def test_the_usual_key_goes_only_to_the_api_s_own_address() -> None:
    """Without `api_key_env` a provider at another address is sent no key of this environment."""

    def variable(**given: Any) -> str | None:
        return ProviderSettings(**given).key_variable

    assert variable(api="anthropic") == "ANTHROPIC_API_KEY"
    assert variable(api="openai") == "OPENAI_API_KEY"
    assert variable(api="openai", base_url="http://elsewhere/v1") is None
    assert variable(api="openai", base_url="http://elsewhere/v1", api_key_env="K") == "K"


@pytest.mark.parametrize(
    ("name", "api"), [("openai", "openai"), ("anthropic", "anthropic"), ("google", "gemini")]
)
def test_a_maker_s_table_without_an_api_has_the_maker_s(
    tmp_path: Path, name: str, api: str
) -> None:
    """A table that gives an address alone; at another address it is sent no usual key."""
    text = f"[providers.{name}]\nbase_url = 'http://elsewhere/v1'\n"
    found = load(tmp_path, text).providers[name]
    assert (found.api, found.base_url, found.key_variable) == (api, "http://elsewhere/v1", None)
    said = load(tmp_path, text + "api = 'openai-responses'\napi_key_env = 'K'").providers[name]
    assert (said.api, said.key_variable) == ("openai-responses", "K")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"[store\n", "it is not TOML"),
        (b"a = 1\na = 2\n", "it is not TOML"),
        (b"\xff\xfe", "it is not UTF-8 at byte 0"),
        (b"x = " + b"[" * 10_000, "it is nested too deep"),
        (b"#" * ((1 << 20) + 1), "it is larger than 1048576 bytes"),
        (b".".join([b"a"] * 2_000) + b" = 1", "unknown setting 'a'"),
        (b"stages.x.options." + b".".join([b"a"] * 2_000) + b" = 1", "it needs a kind"),
        (
            b"[stages.x]\nkind = 'model'\nmodel = 'a/b'\nprompt = 'p'\noptions."
            + b".".join([b"a"] * 2_000)
            + b" = 1",
            "nests deeper than 64",
        ),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, raw: bytes, says: str) -> None:
    """Broken, foreign, huge and bottomless files are refused by name in one sentence."""
    file = tmp_path / "earmark.toml"
    file.write_bytes(raw)
    with pytest.raises(InvalidConfig) as caught:
        load_settings(file, {})
    assert str(file) in caught.value.place
    assert says in caught.value.detail
    assert len(str(caught.value)) < 1500


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A file that is named and is not there, or is a folder, is not taken for an empty one."""
    for file in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(InvalidConfig, match="cannot be read"):
            load_settings(file, {})
        with pytest.raises(InvalidConfig, match="cannot be read"):
            load_settings(None, {"EARMARK_CONFIG": str(file)}, start=tmp_path)
