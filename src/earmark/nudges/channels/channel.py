"""The port to whatever carries a nudge to somebody outside, and the event they all carry."""

import asyncio
import json
from typing import Final, Protocol

from earmark.clock import iso
from earmark.nudges.nudge import Nudge, patch_data

#: Seconds that one try may take unless told otherwise.
TIME_LIMIT_S: Final = 20.0
#: What events say they come from.
SOURCE: Final = "/earmark/nudges"
_LONGEST_ERROR: Final = 200


class DeliveryFailed(Exception):
    """A nudge did not get through this time; the text holds no address and no secret."""

    def __init__(
        self, detail: str, *, retry_after_s: float | None = None, final: bool = False
    ) -> None:
        """Say why, when the other side wants the next try, and whether none will ever succeed."""
        super().__init__(detail)
        self.detail = detail[:_LONGEST_ERROR]
        self.retry_after_s = retry_after_s
        self.final = final


class Channel(Protocol):
    """One way to somebody outside.

    A send may be repeated with the same nudge: at least once is what is promised, and the nudge's
    id tells a repeat.
    """

    @property
    def name(self) -> str:
        """The name it is configured under."""
        ...

    @property
    def timeout_s(self) -> float:
        """How long one try may take; `carry` sees to it."""
        ...

    async def send(self, nudge: Nudge) -> None:
        """Hand *nudge* over; returns when it was accepted.

        Raises:
            DeliveryFailed: It was not, as far as anybody knows.
        """
        ...


async def carry(channel: Channel, nudge: Nudge) -> None:
    """Send *nudge* through *channel* within its time limit.

    Raises:
        DeliveryFailed: It did not get through, whatever the reason was.
    """
    try:
        async with asyncio.timeout(channel.timeout_s):
            await channel.send(nudge)
    except DeliveryFailed:
        raise
    except TimeoutError:
        raise DeliveryFailed(f"no answer within {channel.timeout_s:g} s") from None
    except Exception as error:  # noqa: BLE001 - a channel is anybody's code
        # Its text may hold an address with a secret in it; its kind does not.
        raise DeliveryFailed(type(error).__name__) from None


def event_of(nudge: Nudge) -> bytes:
    """Return *nudge* as a CloudEvents 1.0 event in JSON; the same bytes each time."""
    event = {
        "specversion": "1.0",
        "id": nudge.id,
        "source": SOURCE,
        "type": f"earmark.nudge.{nudge.kind}",
        "time": iso(nudge.created_at),
        "datacontenttype": "application/json",
        "data": patch_data(nudge),
    }
    if nudge.budget:
        event["subject"] = nudge.budget
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
