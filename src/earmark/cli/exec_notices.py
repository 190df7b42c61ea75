"""What whoever starts a command under a budget should know of it beforehand, in sentences."""

from collections.abc import Iterator

from earmark.ledger.ledger import Ledger
from earmark.money import Money


def notices_of_limits(ledger: Ledger, under: str, up_to: Money | None) -> Iterator[str]:
    """Yield a sentence where *up_to* alone binds: in these books *under* has no limit, nor above.

    Books are found from the working folder, so they may be others than the ones that were meant.
    """
    if up_to is None or ledger.store.accounts(under, ledger.clock.instant()):
        return
    yield (
        f"no limit stands on '{under}' or above it in {ledger.store.name}: only --up-to {up_to}"
        " binds. Name other books by --store, EARMARK_STORE or [store] url, or set a limit:"
        f" `earmark budget set {under} --limit '10 usd per day'`"
    )
