"""What a cancelled or abandoned coroutine leaves behind: nothing that is held without a name.

A reserve that was queued is carried out whether or not its caller still waits. Where the caller
will never learn its key, or never run the work it was for, the hold is given back. The release is
queued behind the reserve and finds only what this very request opened, so it may be sent without
knowing what became of the reserve: refused, it opened nothing; repeated, it is another's.
"""

import asyncio
import threading
from contextlib import suppress
from typing import Final

from earmark.errors import EarmarkError
from earmark.ledger.committer import Committer
from earmark.ledger.values import Decision, Operation, Release, Reserve

#: The name of the threads that book for coroutines whose loop was closed.
BACKGROUND: Final = "earmark-book-abandoned"


def undo(committer: Committer, operation: Reserve) -> None:
    """Release what *operation* opened, if it did; blocks the thread.

    What a store in trouble does not release is presumed spent at its deadline.
    """
    with suppress(EarmarkError):
        committer.submit(_release(operation))


def undo_order(committer: Committer, key: str, opened_by: str) -> None:
    """Release what the reserve of *key* named *opened_by* opened, if it did; see `undo`."""
    with suppress(EarmarkError):
        committer.submit(Release(key, opened_by))


async def undo_async(committer: Committer, operation: Reserve) -> None:
    """Release what *operation* opened, if it did; see `submit_to_the_end`."""
    with suppress(EarmarkError, asyncio.CancelledError):
        await submit_to_the_end(committer, _release(operation))


async def submit_to_the_end(committer: Committer, operation: Operation) -> Decision:
    """Return the decision once it is durable, however often the caller is cancelled meanwhile.

    *operation* may be asked twice. It is queued before this first suspends: from then on it is done
    whatever happens to the task, and only who waits for it may not hear of it.

    Raises:
        asyncio.CancelledError: The loop ends, and with it the waiting.
    """
    try:
        return await committer.submit_async(operation)
    except asyncio.CancelledError:
        resubmission = asyncio.ensure_future(committer.submit_async(operation))
    while not resubmission.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait((resubmission,))
    return resubmission.result()


def undo_abandoned(committer: Committer, operation: Reserve) -> None:
    """Release what *operation* opened, if it did, when nobody can wait; see `book_abandoned`."""
    book_abandoned(committer, _release(operation))


def book_abandoned(committer: Committer, operation: Operation) -> None:
    """Do *operation* for a coroutine whose loop was closed, so that nobody can wait for it.

    In a thread: this may run inside a garbage collection, where nothing may be waited for.
    """

    def book() -> None:
        with suppress(EarmarkError):
            committer.submit(operation)

    threading.Thread(target=book, name=BACKGROUND).start()


def _release(operation: Reserve) -> Release:
    return Release(operation.key, operation.operation)
