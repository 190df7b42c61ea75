"""What the rules would say of amounts that nobody reserves: decided on rows that are only read."""

from collections.abc import Iterable, Sequence
from copy import copy

from msgspec.structs import replace

from earmark.ledger.books import Books
from earmark.ledger.rows import LedgerRows
from earmark.ledger.rules import decide
from earmark.ledger.values import Accepted, Amounts, Refused, Reserve


def preview(
    rows: LedgerRows,
    path: str,
    amounts: Iterable[Amounts],
    *,
    due: Sequence[str],
    now: int,
    seq: int,
    together: bool = False,
    enforced: bool = False,
) -> list[Refused | None]:
    """Return for each of *amounts* why a reserve of it on *path* would be refused at *now*.

    Nothing is written: what changes is a working set that only this call has.

    Args:
        rows: What is read.
        path: The budget.
        amounts: Each is decided by itself.
        due: The reservations that the commit of such a reserve would presume first.
        now: When it would happen.
        seq: The number of the last entry.
        together: Decide each as if those before it that fit were held.
        enforced: Decide as if the tree of *path* were not observed.
    """
    books = Books(rows)
    books.seq = seq
    books.presume(due, now)
    scope = books.scope_of(path, now)
    if enforced:
        scope = replace(scope, observed=False)
    found: list[Refused | None] = []
    for each in amounts:
        decision = decide(scope, None, Reserve("", path, each, 0), now, seq + 1)
        if isinstance(decision, Refused):
            found.append(replace(decision, account=copy(decision.account), seen=seq))
            continue
        found.append(None)
        if together:
            assert isinstance(decision, Accepted), "a reserve without a key repeats nothing"
            for account, held in zip(scope.accounts, decision.held, strict=True):
                account.held = held
    return found
