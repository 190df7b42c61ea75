"""The demo's stage that is no model: it chooses the critique most worth acting on."""

import re
from collections.abc import Mapping

from earmark.stages.kinds.python import stage

_CRITIQUES = ("clarity", "facts", "tone")


@stage(effects=["Pure"])
def choose(value: Mapping[str, str]) -> str:
    """Return the critique that says most about the report: it names most of the report's words."""
    report = _words(value["text"])
    return max((value[name] for name in _CRITIQUES), key=lambda said: len(_words(said) & report))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}|[0-9:,]+", text.lower()))
