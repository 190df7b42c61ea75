"""Nudges by chat, mail and a hundred other services, through Apprise."""

import asyncio
import logging
import warnings
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from earmark.errors import InvalidConfig
from earmark.nudges.channels.channel import TIME_LIMIT_S, DeliveryFailed
from earmark.nudges.nudge import Nudge

#: How urgent each kind is to a service that shows it; others are warnings.
_URGENCY: Final = {
    "exhausted": "failure",
    "overrun": "failure",
    "resumed": "success",
    "extended": "info",
    "test": "info",
}
#: Loggers that write addresses with their keys.
_INDISCREET: Final = ("apprise", "urllib3.connectionpool")
#: Parts of a nudge's data that its title tells already, or that only programs read.
_NOT_TOLD: Final = frozenset({"type", "labels", "entry"})


class AppriseChannel:
    """Sends each nudge to every address; a repeat goes only to those that failed before."""

    def __init__(self, name: str, urls: Sequence[str], *, timeout_s: float = TIME_LIMIT_S) -> None:
        """Send to the services that *urls* name, in Apprise's own form.

        Raises:
            InvalidConfig: Apprise is not installed, or a URL is none of its own.
        """
        self.name = name
        self.timeout_s = timeout_s
        self._services = [_service(name, number, url) for number, url in enumerate(urls, start=1)]
        self._reached: dict[str, set[int]] = {}
        """By nudge: the services that accepted it although others did not."""

    async def send(self, nudge: Nudge) -> None:
        """Send it to all services at once.

        Raises:
            DeliveryFailed: One of them did not accept it; says how many.
        """
        reached = self._reached.setdefault(nudge.id, set())
        left = [i for i in range(len(self._services)) if i not in reached]
        await asyncio.gather(*(self._notify(i, nudge, reached) for i in left))
        if failed := len(self._services) - len(reached):
            raise DeliveryFailed(f"{failed} of {len(self._services)} services failed")
        del self._reached[nudge.id]

    async def _notify(self, number: int, nudge: Nudge, reached: set[int]) -> None:
        accepted = await self._services[number].async_notify(
            body="\n".join(_lines(nudge)),
            title=nudge.title,
            notify_type=_URGENCY.get(nudge.kind, "warning"),
        )
        if accepted:
            reached.add(number)


def _service(name: str, number: int, url: str) -> Any:  # noqa: ANN401 - Apprise has no stubs
    if find_spec("apprise") is None:
        detail = "nudges by Apprise need the extra 'service': pip install 'earmark[service]'"
        raise InvalidConfig(place=f"nudges.{name}", detail=detail)
    for logger in _INDISCREET:
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        # Apprise loads a hundred plugins, and with them modules that Python is about to drop.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Slow to load, and not everybody has it.
        apprise: Any = import_module("apprise")
        service = apprise.Apprise()
        known = service.add(url)
    if not known:
        # Not shown: it may hold a key.
        detail = f"number {number} of its URLs is none that Apprise knows"
        raise InvalidConfig(place=f"nudges.{name}.urls_env", detail=detail)
    return service


def _lines(nudge: Nudge) -> Iterable[str]:
    yield f"For {nudge.recipient}: {nudge.kind}"
    for key, value in nudge.data.items():
        if key not in _NOT_TOLD and isinstance(value, str | int | float) and value != "":
            yield f"{key}: {value}"
    yield f"id: {nudge.id}"
