"""A call that was sent, and whose end the books could not take."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from earmark.admission.ticket import AsyncTicket
from earmark.errors import CallFailed, StoreError
from earmark.gateway.sender import SendProgress

_LOG: Final = logging.getLogger("earmark.gateway")


@contextmanager
def says_what_was_sent(ticket: AsyncTicket, progress: SendProgress) -> Generator[None]:
    """Tell the client of a call that was sent, where its books fail, that it is not to be repeated.

    It would be billed twice. Its reply does not pass: nothing passes before it is booked.

    Raises:
        CallFailed: The books failed after the call was sent.
        StoreError: They failed before.
    """
    try:
        yield
    except StoreError as error:
        if not progress.began:
            raise
        _LOG.error("call '%s' was sent and is not booked: %s", ticket.key, type(error).__name__)
        ends = (
            "stays held until its deadline, and is then presumed spent unless it is settled before"
            if ticket.charge is None
            else f"is booked at {ticket.charge.settled} USD"
        )
        words = (
            "the request was sent, and the store of the budgets could not take what it cost: its"
            f" reply does not pass, and its reservation '{ticket.key}' {ends}; to send it again"
            " may be billed again"
        )
        raise CallFailed(detail=words, billed="unknown") from error
