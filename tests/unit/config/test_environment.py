"""Settings from `EARMARK_…` variables."""

from pathlib import Path

import pytest

from earmark.config.load import load_settings
from earmark.config.settings import Settings
from earmark.config.stage_settings import ModelStageSettings, ProcessStageSettings
from earmark.errors import InvalidConfig
from earmark.nudges.channels.webhook import WebhookSettings

FILE = """
[store]
url = "sqlite:///file.db"
[run]
concurrency = 4
[budgets."c8/cloud-lu"]
limits = ["1 usd per day"]
timezone = "CET"
[prices."local/smollm2-135m"]
input_mtok = "0.10"
output_mtok = "0.40"
[providers.local]
api = "openai"
base_url = "http://127.0.0.1:8080/v1"
"""


def load(folder: Path, environ: dict[str, str], text: str = FILE) -> Settings:
    """Return the settings of a file with *text* under an environment."""
    file = folder / "earmark.toml"
    file.write_text(text)
    return load_settings(file, environ)


def refused(folder: Path, environ: dict[str, str], text: str = FILE) -> InvalidConfig:
    """Return the error that an environment raises."""
    with pytest.raises(InvalidConfig) as caught:
        load(folder, environ, text)
    return caught.value


def test_a_variable_outranks_the_file(tmp_path: Path) -> None:
    """What the environment sets replaces the file's setting, and that one only."""
    environ = {
        "EARMARK_STORE": "sqlite:///env.db",
        "EARMARK_RUN__CONCURRENCY": "8",
        "EARMARK_ADMISSION__POLICY": "soft",
        "EARMARK_ADMISSION__WAIT": "30s",
        "EARMARK_PROVIDERS__LOCAL__BASE_URL": "http://127.0.0.1:9999/v1",
        "EARMARK_PRICES__LOCAL_SMOLLM2_135M__INPUT_MTOK": "0.20",
        "EARMARK_BUDGETS__C8_CLOUD_LU__LIMITS": "2 usd per day",
    }
    settings = load(tmp_path, environ)
    assert settings.store.url == "sqlite:///env.db"
    assert settings.run.concurrency == 8
    assert settings.admission.policy == "soft"
    assert settings.providers["local"].base_url == "http://127.0.0.1:9999/v1"
    assert settings.providers["local"].api == "openai"
    assert settings.prices == {"local/smollm2-135m": {"input_mtok": "0.20", "output_mtok": "0.40"}}
    budget = settings.budgets["c8/cloud-lu"]
    assert [str(limit) for limit in budget.limits or ()] == ["2 usd per day"]
    assert budget.given().get("timezone") == "CET"


def test_everything_can_come_from_the_environment(tmp_path: Path) -> None:
    """With no file at all, variables alone configure a budget, a provider, stages and the rest."""
    settings = load_settings(
        None,
        {
            "EARMARK_BUDGETS__ACME__LIMITS": '["10 usd per day", "3 calls per 30min"]',
            "EARMARK_BUDGETS__ACME__ALERTS": "[0.5, 1]",
            "EARMARK_PROVIDERS__MY_AI__API": "anthropic",
            "EARMARK_STAGES__DRAFT__KIND": "model",
            "EARMARK_STAGES__DRAFT__MODEL": "my_ai/claude",
            "EARMARK_STAGES__DRAFT__PROMPT": "1",
            "EARMARK_STAGES__DRAFT__OPTIONS": "{temperature = 0.2}",
            "EARMARK_STAGES__DRAFT__EFFECTS": "Network",
            "EARMARK_STAGES__NAMES__KIND": "process",
            "EARMARK_STAGES__NAMES__ARGV": '["jq", ".name"]',
            "EARMARK_STAGES__NAMES__COST": "{cents = 5}",
            "EARMARK_STAGES__NAMES__INPUT": "Text",
            "EARMARK_ADMISSION__ALLOW_FREE": "my_ai/free",
            "EARMARK_HEARTBEAT__AGENT": "7",
            "EARMARK_HEARTBEAT__BUDGET": "acme",
            "EARMARK_HEARTBEAT__MODEL": "my_ai/claude",
            "EARMARK_HEARTBEAT__GRADE": "{command = ['grade']}",
            "EARMARK_NUDGES__HOOK__KIND": "webhook",
            "EARMARK_NUDGES__HOOK__URL": "http://127.0.0.1:1/",
            "EARMARK_SERVICE__PORT": "8000",
            "EARMARK_SERVICE__OPEN_READS": "true",
        },
        start=tmp_path,
    )
    assert len(settings.budgets["acme"].limits or ()) == 2
    assert settings.budgets["acme"].alerts == (0.5, 1.0)
    assert settings.providers["my_ai"].key_variable == "ANTHROPIC_API_KEY"
    draft, names = settings.stages["draft"], settings.stages["names"]
    assert isinstance(draft, ModelStageSettings)
    assert isinstance(names, ProcessStageSettings)
    assert (draft.prompt, draft.options) == ("1", {"temperature": 0.2})
    assert names.argv == ("jq", ".name")
    assert str(names.cost) == "0.05"
    assert settings.admission.allow_free == ("my_ai/free",)
    assert settings.heartbeat.agent == "7"
    assert settings.heartbeat.grade is not None
    assert settings.heartbeat.grade.command == ("grade",)
    hook = settings.nudges["hook"]
    assert isinstance(hook, WebhookSettings)
    assert hook.url == "http://127.0.0.1:1/"
    assert (settings.service.port, settings.service.open_reads) == (8000, True)


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    """`EARMARK_STORE=` means what leaving it out means."""
    environ = {"EARMARK_STORE": "", "EARMARK_CONFIG": "", "EARMARK_RUN__CONCURRENCY": ""}
    settings = load(tmp_path, environ)
    assert settings.store.url == f"sqlite:///{tmp_path}/file.db"
    assert settings.run.concurrency == 4


def test_a_store_from_the_environment_is_read_from_the_working_directory(tmp_path: Path) -> None:
    """A relative store typed on a command line is not moved beside the file."""
    assert load(tmp_path, {"EARMARK_STORE": "sqlite:///x.db"}).store.url == "sqlite:///x.db"


def test_variables_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    """What a cluster or a shell puts into the environment does not stop the program."""
    environ = {
        "PATH": "/bin",
        "EARMARK_SERVICE_HOST": "10.0.0.1",
        "EARMARK_SERVICE_PORT": "80",
        "EARMARK_SERVICE_PORT_HTTP": "80",
        "EARMARK_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "EARMARK_API_KEY": "x",
    }
    assert load(tmp_path, environ).run.concurrency == 4


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("EARMARK_STOER", "x", "is it EARMARK_STORE?"),
        ("EARMARK_RUN_CONCURRENCY", "8", "is it EARMARK_RUN__CONCURRENCY?"),
        ("EARMARK_STORE_URL", "x", "is it EARMARK_STORE__URL?"),
        ("EARMARK_HEARTBEAT_MODEL", "x", "is it EARMARK_HEARTBEAT__MODEL?"),
        ("EARMARK_NUDGES__URL", "x", "EARMARK_NUDGES__<NAME>__<SETTING>"),
        ("EARMARK_RUNS__CONCURRENCY", "8", "the nearest is EARMARK_RUN__<SETTING>"),
        ("EARMARK_BUDGETS__LIMITS", "1 usd total", "EARMARK_BUDGETS__<NAME>__<SETTING>"),
        ("EARMARK_RUN__X__CONCURRENCY", "8", "EARMARK_RUN__<SETTING>"),
        ("EARMARK_RUN__CONCURENCY", "8", "did you mean concurrency?"),
        ("EARMARK_PROVIDERS__LOCAL__BASEURL", "x", "did you mean base_url?"),
        ("EARMARK_RUN__CONCURRENCY", "many", "not 'many'"),
        ("EARMARK_RUN__CONCURRENCY", "8.0", "not 8.0"),
        ("EARMARK_RUN__CONCURRENCY", "true", "not true"),
        ("EARMARK_RUN__CONCURRENCY", "1\nx = 2", "whole number"),
        ("EARMARK_ADMISSION__POLICY", "lax", "not 'lax'"),
        ("EARMARK_BUDGETS__C8_CLOUD_LU__LIMITS", "1 eur per day", "usd, calls, tokens"),
        ("EARMARK_BUDGETS__C8_CLOUD_LU__TIMEZONE", "Mars", "is not a time zone"),
        ("EARMARK_PRICES__LOCAL_SMOLLM2_135M__INPUT_MTOK", "nan", "is not from 0"),
        ("EARMARK_PROVIDERS__LOCAL__API_KEY_ENV", "not-a-name", "never the key"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(
    tmp_path: Path, variable: str, value: str, says: str
) -> None:
    """A variable that cannot be used is named itself, not the file it outranks."""
    error = refused(tmp_path, {variable: value})
    assert error.place.split(" ")[0] == variable
    assert "earmark.toml" not in error.place
    assert says in error.detail


def test_a_table_that_a_variable_began_names_it(tmp_path: Path) -> None:
    """A provider that exists only because of a slip in a variable's name leads to that variable."""
    error = refused(tmp_path, {"EARMARK_PROVIDERS__LOCL__BASE_URL": "http://h/v1"})
    assert "providers.locl.api" in error.place
    assert "EARMARK_PROVIDERS__LOCL__BASE_URL" in error.place


def test_two_variables_for_one_setting_are_refused(tmp_path: Path) -> None:
    """Which of two would win is not left to chance."""
    environ = {"EARMARK_STORE": "memory:", "EARMARK_STORE__URL": "sqlite:///x.db"}
    assert "it sets the same as EARMARK_STORE" in refused(tmp_path, environ).detail


def test_a_variable_that_fits_two_names_is_refused(tmp_path: Path) -> None:
    """`a-b` and `a/b` are one name in a variable, so neither is chosen."""
    text = '[budgets."a-b"]\n[budgets."a/b"]\n'
    error = refused(tmp_path, {"EARMARK_BUDGETS__A_B__TIMEZONE": "CET"}, text)
    assert "'a-b' or 'a/b'" in error.detail


def test_a_variable_does_not_hide_a_broken_file(tmp_path: Path) -> None:
    """A section that is no table is refused although a variable sets something in it."""
    error = refused(tmp_path, {"EARMARK_RUN__CONCURRENCY": "8"}, "run = 5")
    assert error.place == f"run in {tmp_path / 'earmark.toml'}"
    assert "give a table, not 5" in error.detail
