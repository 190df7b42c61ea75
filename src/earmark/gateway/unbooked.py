"""A call that was sent, and then failed here: its books, or whatever followed."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from earmark.admission.ticket import AsyncTicket
from earmark.errors import CallFailed, EarmarkError, StoreError
from earmark.gateway.denied import Denied
from earmark.gateway.peer import ClientGone
from earmark.gateway.sender import SendProgress

_LOG: Final = logging.getLogger("earmark.gateway")


@contextmanager
def says_what_was_sent(ticket: AsyncTicket, progress: SendProgress) -> Generator[None]:
    """Tell the client of a call that was sent, where it failed here, that it is not to be repeated.

    It would be billed twice. Its reply does not pass: nothing passes before it is booked.

    Raises:
        CallFailed: The books, or something unexpected, failed after the call was sent.
        StoreError: They failed before.
    """
    try:
        yield
    except Exception as error:
        is_store = isinstance(error, StoreError)
        is_told = isinstance(error, EarmarkError | Denied | ClientGone) and not is_store
        if is_told or not progress.began:
            raise
        # Its type alone: its text may hold a prompt or a key.
        _LOG.error("call '%s' was sent, and failed by %s", ticket.key, type(error).__name__)
        why = "the store of the budgets could not take what it cost" if is_store else "then failed"
        ends = (
            "stays held until its deadline, and is then presumed spent unless it is settled before"
            if ticket.charge is None
            else f"is booked at {ticket.charge.settled} USD"
        )
        words = (
            f"the request was sent, and {why}: its reply does not pass, and its reservation"
            f" '{ticket.key}' {ends}; to send it again may be billed again"
        )
        raise CallFailed(detail=words, billed="unknown") from error
