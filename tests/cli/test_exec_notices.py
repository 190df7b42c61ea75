"""What is said before a command starts."""

from typing import Any

import pytest

from earmark.cli.exec_notices import notices_of_providers
from earmark.config.settings import Settings

HERE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("anthropic", "environ", "said"),
    [
        ({}, {}, []),
        ({}, {"ANTHROPIC_API_KEY": "sk-secret"}, []),
        ({}, {"ANTHROPIC_BASE_URL": HERE}, ["ANTHROPIC_BASE_URL is not used: ", "[providers.anth"]),
        ({}, {"GEMINI_API_BASE": HERE}, ["GEMINI_API_BASE is not used: ", "[providers.google]"]),
        ({}, {"OPENAI_BASE_URL": "http://[::1"}, ["OPENAI_BASE_URL is not used: "]),
        ({}, {"OPENAI_BASE_URL": "https://api.openai.com/v1/"}, []),
        ({"base_url": HERE}, {"ANTHROPIC_BASE_URL": f"{HERE}/v1"}, []),
        ({"base_url": HERE}, {"ANTHROPIC_API_KEY": "sk-secret"}, ["sent no key", "api_key_env = "]),
        ({"base_url": HERE, "api_key_env": "K"}, {"ANTHROPIC_API_KEY": "sk-secret"}, []),
    ],
)
def test_an_address_and_a_key_that_are_not_used(
    anthropic: dict[str, Any], environ: dict[str, str], said: list[str]
) -> None:
    """Each is named with the setting that is used instead; nothing of a key is shown."""
    settings = Settings.model_validate(
        {"providers": {"anthropic": {"api": "anthropic", **anthropic}} if anthropic else {}}
    )
    notices = list(notices_of_providers(settings, environ))
    assert len(notices) == bool(said)
    assert all(part in notices[0] for part in said)
    assert "sk-secret" not in str(notices)
