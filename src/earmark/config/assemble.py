"""From settings to what they describe: prices, providers, stages, the policy.

Each function makes one thing of the settings; nothing is called, and no key is read before the
provider it is for is asked for.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final, assert_never

from earmark.admission.call import Provider
from earmark.admission.policy import ELASTIC, SOFT, STRICT, Policy
from earmark.apis.bounds import DEFAULT_MAX_TOKENS
from earmark.clock import Clock
from earmark.config.makers import MAKERS
from earmark.config.settings import ProviderSettings, Settings
from earmark.config.stage_settings import (
    ModelStageSettings,
    ProcessStageSettings,
    PythonStageSettings,
    RemoteStageSettings,
    StageSettings,
)
from earmark.errors import InvalidConfig, InvalidStage
from earmark.pricing.book import PriceBook
from earmark.provider.open import open_provider
from earmark.stages.kinds.kind import StageKind
from earmark.stages.kinds.model import model_stage
from earmark.stages.kinds.process import OUTPUT_LIMIT_BYTES, TIME_LIMIT_S, process_stage
from earmark.stages.kinds.python import PythonStage, stage

POLICIES: Final[Mapping[str, Policy]] = {"strict": STRICT, "elastic": ELASTIC, "soft": SOFT}

#: Providers that need no table of their own.
_MAKERS: Final = {name: ProviderSettings.model_construct(api=api) for name, api in MAKERS.items()}

#: Reads the key of a provider from where its settings say; None for one that wants none.
KeyLookup = Callable[[str, ProviderSettings], str | None]


def policy_of(settings: Settings) -> Policy:
    """Return the admission policy."""
    return POLICIES[settings.admission.policy]


def price_book(settings: Settings) -> PriceBook:
    """Return the price book: the settings' own prices before the price list."""
    return PriceBook(settings.prices, allow_free=settings.admission.allow_free)


# Providers ----------------------------------------------------------------------------------------


def known_providers(settings: Settings) -> Mapping[str, ProviderSettings]:
    """Return the settings of every provider by name: the makers' own, and those that are named."""
    return {**_MAKERS, **settings.providers}


class Providers(Mapping[str, Provider]):
    """The configured providers by name, each opened when it is first asked for."""

    def __init__(
        self, settings: Settings, *, book: PriceBook, clock: Clock, key: KeyLookup
    ) -> None:
        """Offer the providers of *settings*, priced by *book*; *key* reads the key of each."""
        self._settings = known_providers(settings)
        self._allowed = {name: frozenset(api.options) for name, api in settings.apis.items()}
        self._book = book
        self._clock = clock
        self._key = key
        self._opened: dict[str, Provider] = {}

    def __getitem__(self, name: str) -> Provider:
        if name not in self._opened:
            self._opened[name] = self._open(name, self._settings[name])
        return self._opened[name]

    def __contains__(self, name: object) -> bool:
        # The inherited one would open it to see.
        return name in self._settings

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)

    async def aclose(self) -> None:
        """Close the connections of those that were opened."""
        opened, self._opened = self._opened, {}
        for provider in opened.values():
            await provider.aclose()

    def _open(self, name: str, settings: ProviderSettings) -> Provider:
        return open_provider(
            name,
            api=settings.api,
            book=self._book,
            clock=self._clock,
            base_url=settings.base_url,
            api_key=self._key(name, settings),
            default_max_tokens=settings.max_tokens or DEFAULT_MAX_TOKENS,
            context_window=settings.context_window,
            allowed_options=self._allowed.get(settings.api, frozenset()),
            count_margin=settings.count_margin if settings.count_tokens else None,
        )


def key_from(environ: Mapping[str, str]) -> KeyLookup:
    """Return the reader of keys from *environ*; a key that is missing there is `InvalidConfig`."""

    def read(name: str, settings: ProviderSettings) -> str | None:
        variable = settings.key_variable
        if variable is None:
            return None
        if not environ.get(variable):
            detail = f"the variable {variable} holds no key: set it, or name another by api_key_env"
            raise InvalidConfig(place=f"providers.{name}", detail=detail)
        return environ[variable]

    return read


def no_key(name: str, settings: ProviderSettings) -> None:
    """Read no key: for plans, which price calls and make none."""
    del name, settings


# Stages -------------------------------------------------------------------------------------------


def stages_of(settings: Settings) -> list[StageKind]:
    """Return the configured stages, in the order of their tables.

    Raises:
        InvalidConfig: A function cannot be imported, or a stage is none; says which.
    """
    folder = Path.cwd() if settings.file is None else settings.file.absolute().parent
    return [_stage(name, each, folder) for name, each in settings.stages.items()]


def _stage(name: str, settings: StageSettings, folder: Path) -> StageKind:
    try:
        return _typed(_bare(name, settings, folder), settings)
    except InvalidStage as error:
        place = f"stages.{name}{error.place.replace('/', '.')}"
        raise InvalidConfig(place=place, detail=error.detail) from None


def _bare(name: str, settings: StageSettings, folder: Path) -> Any:  # noqa: ANN401 - one of the kinds
    match settings:
        case PythonStageSettings():
            return _python(name, settings, folder)
        case ProcessStageSettings():
            return _process(name, settings, folder)
        case ModelStageSettings():
            return _model(name, settings)
        case RemoteStageSettings():
            # Loads an HTTP client, which those without such stages need not wait for.
            from earmark.stages.kinds.remote import remote_stage  # noqa: PLC0415

            return remote_stage(
                name,
                settings.url,
                cost=settings.cost,
                effects=settings.effects and settings.effects.effects,
                timeout=_seconds(settings),
            )
        case _:
            assert_never(settings)


def _typed(bare: Any, settings: StageSettings) -> StageKind:  # noqa: ANN401 - one of the kinds
    types = {"input": settings.input, "output": settings.output}
    declared_types = {name: each for name, each in types.items() if each is not None}
    return replace(bare, spec=replace(bare.spec, **declared_types)) if declared_types else bare


def _process(name: str, settings: ProcessStageSettings, folder: Path) -> StageKind:
    return process_stage(
        name,
        settings.argv,
        cost=settings.cost,
        effects=settings.effects and settings.effects.effects,
        prints=settings.prints,
        timeout=_seconds(settings) or TIME_LIMIT_S,
        output_limit_bytes=settings.max_output or OUTPUT_LIMIT_BYTES,
        directory=folder,
    )


def _model(name: str, settings: ModelStageSettings) -> StageKind:
    return model_stage(
        name,
        settings.model,
        settings.prompt,
        system=settings.system,
        max_tokens=settings.max_tokens,
        answers=settings.answers,
        options=settings.options,
        effects=settings.effects and settings.effects.effects,
        timeout=_seconds(settings),
    )


def _python(name: str, settings: PythonStageSettings, folder: Path) -> StageKind:
    target = _imported(settings.function, f"stages.{name}.function", folder)
    if isinstance(target, PythonStage):
        # What `@stage` declares stands beside the code it is about; a second truth would hide it.
        conflicting = [
            each
            for each in ("cost", "effects", "input", "output", "timeout")
            if getattr(settings, each) is not None
        ]
        if conflicting:
            detail = f"'{settings.function}' is declared by @stage: say it there"
            raise InvalidConfig(place=f"stages.{name}.{conflicting[0]}", detail=detail)
        return replace(target, spec=replace(target.spec, name=name))
    if not callable(target):
        detail = f"'{settings.function}' is no function"
        raise InvalidConfig(place=f"stages.{name}.function", detail=detail)
    declared = stage(
        name=name,
        cost=settings.cost,
        effects=settings.effects and settings.effects.effects,
        timeout=_seconds(settings),
    )
    return declared(target)


def _imported(function: str, place: str, folder: Path) -> object:
    module, _, name = function.partition(":")
    if str(folder) not in sys.path:
        # A program's own modules lie beside its configuration, as with `python -m`.
        sys.path.insert(0, str(folder))
    try:
        target: object = import_module(module)
        for part in name.split("."):
            target = getattr(target, part)
    except Exception as error:  # a module may raise anything
        detail = f"'{function}' cannot be imported: {type(error).__name__}: {error}"
        raise InvalidConfig(place=place, detail=detail) from error
    return target


def _seconds(settings: StageSettings) -> float | None:
    return None if settings.timeout is None else settings.timeout.total_seconds()
