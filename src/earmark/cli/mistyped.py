"""A budget's path that is nearly another's."""

from difflib import get_close_matches
from typing import Final

from earmark.errors import NotFound
from earmark.ledger.ledger import Ledger

#: From how alike on one path is taken for another mistyped: two letters swapped in four are.
_NEAR: Final = 0.75


def refuse_mistyped(ledger: Ledger, under: str) -> None:
    """Refuse a path where no budget stands and that is nearly the path of one with limits.

    What is below it would spend beside the limits of the one that was meant.

    Raises:
        NotFound: It is such a path.
    """
    if ledger.store.budget(under) is not None:
        return
    limited = [each.path for each in ledger.budgets(kind="budget") if each.limits]
    near = get_close_matches(under, limited, n=1, cutoff=_NEAR)
    if near:
        hint = f"did you mean '{near[0]}'? `earmark budget set {under}` makes it"
        raise NotFound(kind="budget", name=under, hint=hint)
