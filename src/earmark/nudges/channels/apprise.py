"""Nudges by chat, mail and a hundred other services, through Apprise."""

import asyncio
import logging
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from earmark.errors import InvalidConfig
from earmark.nudges.channels.channel import TIME_LIMIT_S, DeliveryFailed
from earmark.nudges.channels.channel_settings import ChannelContext, ChannelSettings
from earmark.nudges.channels.message import level_of, text_of
from earmark.nudges.nudge import Nudge
from earmark.setting_types.table import Variable

#: Loggers that write addresses with their keys.
_INDISCREET: Final = ("apprise", "urllib3.connectionpool")


class AppriseSettings(ChannelSettings):
    """`kind = "apprise"`: any number of services, by their URLs in Apprise's own form."""

    urls_env: Variable
    """The variable that holds the URLs, between blanks; they hold passwords and keys."""

    def open(self, context: ChannelContext) -> "AppriseChannel":
        """Return the channel.

        Raises:
            InvalidConfig: There are no URLs, one of them cannot be used, or Apprise is not
                installed.
        """
        urls = context.read_variable("urls_env", self.urls_env).split()
        return AppriseChannel(context.name, urls, timeout_s=self.timeout_s)


class AppriseChannel:
    """Sends each nudge to every address; a repeat goes only to those that failed before."""

    def __init__(self, name: str, urls: Sequence[str], *, timeout_s: float = TIME_LIMIT_S) -> None:
        """Send to the services that *urls* name, in Apprise's own form.

        Raises:
            InvalidConfig: Apprise is not installed, or a URL is none of its own or follows
                redirects.
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
            body=text_of(nudge), title=nudge.title, notify_type=level_of(nudge)
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
        service = apprise.Apprise(asset=apprise.AppriseAsset(http_redirects=False))
        known = service.add(url)
    # The URL is not shown: it may hold a key.
    if not known:
        detail = f"number {number} of its URLs is none that Apprise knows"
        raise InvalidConfig(place=f"nudges.{name}.urls_env", detail=detail)
    if any(each.redirects for each in service):
        detail = f"number {number} of its URLs follows redirects: leave 'redirect' out of it"
        raise InvalidConfig(place=f"nudges.{name}.urls_env", detail=detail)
    return service
