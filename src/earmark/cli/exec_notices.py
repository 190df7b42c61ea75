"""What whoever starts a command under a budget should know of it beforehand, in sentences."""

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from earmark.apis.dialects import DIALECTS
from earmark.config.assemble import known_providers
from earmark.config.makers import MAKERS
from earmark.config.settings import KEY_VARIABLES, Settings
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.stores.store_url import with_folder

#: Variables by which clients are told where to ask, and the provider that is asked there.
_ADDRESSES: Final[Mapping[str, str]] = {
    "OPENAI_BASE_URL": "openai",
    "OPENAI_API_BASE": "openai",
    "ANTHROPIC_BASE_URL": "anthropic",
    "GOOGLE_GEMINI_BASE_URL": "google",
    "GEMINI_API_BASE": "google",
}


def notices_of_limits(ledger: Ledger, under: str, up_to: Money | None) -> Iterator[str]:
    """Yield a sentence where *up_to* alone binds: in these books *under* has no limit, nor above.

    Books are found from the working folder, so they may be others than the ones that were meant.
    """
    if up_to is None or ledger.store.accounts(under, ledger.clock.instant()):
        return
    books = with_folder(ledger.store.name)
    yield (
        f"no limit stands on '{under}' or above it in {books}: only --up-to {up_to} binds. Name"
        " other books by --store, EARMARK_STORE or [store] url, or set a limit:"
        f" `earmark budget set {under} --limit '10 usd per day'`"
    )


def notices_of_providers(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each address in the environment that is not used, and each key."""
    known = known_providers(settings)
    hosts = {_host(each.base_url or DIALECTS[each.api].base_url) for each in known.values()}
    for variable, name in _ADDRESSES.items():
        if environ.get(variable) and _host(environ[variable]) not in hosts:
            yield (
                f"{variable} is not used: where requests go is set by base_url in"
                f" [providers.{name}] of earmark.toml, or by"
                f" EARMARK_PROVIDERS__{name.upper()}__BASE_URL"
            )
    for name in MAKERS:
        usual = KEY_VARIABLES[known[name].api]
        if known[name].key_variable is None and environ.get(usual):
            yield (
                f"provider '{name}' is sent no key: {usual} goes to its maker alone;"
                f' for the server at base_url set api_key_env = "{usual}" in [providers.{name}]'
            )


def _host(url: str) -> str:
    """Return the host and port of *url*; the URL itself where it is none."""
    try:
        return urlsplit(url).netloc or url
    except ValueError:
        return url
