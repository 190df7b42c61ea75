"""What a test gives of each field of a budget that can be set, by whichever door."""

import json
from dataclasses import dataclass
from typing import Any, Final

from earmark.budget.budget import Budget
from earmark.budget.fields import PLAIN_FIELDS, PlainField
from earmark.budget.settable import SETTABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of a field, as each door is given it."""

    given: Any
    """By the library."""
    json: Any
    """By the API, which shows it so too, as `--json` does."""
    options: tuple[str, ...]
    """By the command line."""
    toml: str
    """By `earmark.toml`."""


def fields_of(budget: Budget) -> dict[str, Any]:
    """Return all that can be set of *budget*, by name."""
    return {name: getattr(budget, name) for name in SETTABLE}


def _limits(*texts: str) -> Sample:
    options = tuple(each for text in texts for each in ("--limit", text))
    return Sample(given=[*texts], json=[*texts], options=options, toml=json.dumps(texts))


def _alerts(*shares: float) -> Sample:
    texts = [str(share) for share in shares]
    options = tuple(each for text in texts for each in ("--alert", text))
    return Sample(given=[*shares], json=texts, options=options, toml=json.dumps(shares))


def _plain(field: PlainField, value: Any) -> Sample:
    name = field.name.replace("_", "-")
    options = (f"--{name}", str(value))
    if isinstance(value, bool):
        options = (f"--{name}" if value else f"--no-{name}",)
    return Sample(given=value, json=value, options=options, toml=json.dumps(value))


#: Two values of each plain field that does not take every one of its type.
_OWN: Final = {"timezone": ("Europe/Berlin", "Asia/Kolkata")}
_OF_TYPE: Final[dict[type, tuple[Any, Any]]] = {
    str: ("Ana & <b>Ben</b>", "Zoë"),
    int: (7, 12),
    bool: (True, False),
}

#: Two values of each field that operators set.
SAMPLES: Final[dict[str, tuple[Sample, Sample]]] = {
    "limits": (_limits("10 usd per day", "3 calls per 30min"), _limits("7 usd total")),
    "alerts": (_alerts(0.5, 0.9), _alerts(0.25)),
    **{
        each.name: (_plain(each, one), _plain(each, other))
        for each in PLAIN_FIELDS
        for one, other in (_OWN.get(each.name) or _OF_TYPE[each.type],)
    },
}


def given(which: int = 0) -> dict[str, Any]:
    """Return for every field the first of its samples, or the second, as the library takes it."""
    return {name: samples[which].given for name, samples in SAMPLES.items()}
