"""Which budget pays for a request: its token's, or one below it that the request names.

A client can change its headers, so what is named is no fence: the limits of the token's budget are
above it, and bind whatever a request says.
"""

import asyncio
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from msgspec import Struct

from earmark.budget.path import ancestors, is_within, parse_path
from earmark.errors import InvalidPath, InvalidUsage
from earmark.gateway.access import Holder
from earmark.gateway.denied import Denied
from earmark.gateway.headers import BUDGET, SESSIONS
from earmark.gateway.session_budgets import SessionBudgets
from earmark.ledger.async_ledger import AsyncLedger

#: An id that can stand in a path as it is; of any other its digest does.
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,55}")
_DIGEST: Final = 32
#: Budgets that are known to be there without a look into the store.
_MOST_KNOWN: Final = 10_000


class Payer(Struct, frozen=True):
    """Who pays for one request."""

    budget: str
    full: bool = False
    """Whether the request named another one, and the token has had as many as it may."""


class RequestPayers:
    """Finds and makes the budgets that requests name; its methods belong to the loop's thread."""

    def __init__(self, ledger: AsyncLedger, rows: SessionBudgets, most: int) -> None:
        """Let each token have *most* budgets below its own."""
        self._ledger = ledger
        self._rows = rows
        self._most = most
        # By token and path, the last used at the end.
        self._known: dict[tuple[str, str], None] = {}

    async def payer(self, holder: Holder, headers: Mapping[str, str], *, makes: bool) -> Payer:
        """Return which budget pays for a request of *holder* with these *headers*.

        A budget that is not there yet is made, if it *makes* one; durable, and so that each token
        has at most so many, whatever other processes do. It has no limits of its own.

        Raises:
            Denied: The request names what is no budget below the holder's, or a run's.
        """
        own = holder.access.budget
        path = named_budget(own, headers)
        if path is None:
            return Payer(own)
        name = (holder.token_id, path)
        if name in self._known:
            del self._known[name]
        elif not await asyncio.to_thread(self._has_room, *name, own, makes=makes):
            return Payer(own, full=True)
        elif not makes:
            return Payer(path)
        self._known[name] = None
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return Payer(path)

    def _has_room(self, token_id: str, path: str, own: str, *, makes: bool) -> bool:
        """Return whether *path* can pay; it is made where it *makes* one."""
        between = [each for each in ancestors(path) if each != own and is_within(each, own)]
        found = [self._ledger.sync.store.budget(each) for each in between]
        if any(each is not None and each.kind == "run" for each in found):
            words = f"{BUDGET} names the budget of a run, whose statement is the run's alone"
            raise Denied(400, "invalid_budget", words)
        there = found[0]
        if there is not None and there.kind == "budget":
            return True  # somebody made it on purpose
        if not self._rows.has(token_id, path):
            if self._rows.count(token_id) >= self._most:
                return False
            if makes and not self._rows.add(token_id, path, self._most):
                return False
        if makes and there is None:
            self._make(token_id, path)
        return True

    def _make(self, token_id: str, path: str) -> None:
        # Its row is there first: what is killed in between makes it with the next request.
        try:
            self._ledger.sync.set_budget(
                path, actor=f"token {token_id}", reason="named by a client", kind="session"
            )
        except InvalidUsage:
            if self._ledger.sync.store.budget(path) is None:
                raise  # else somebody made one in this moment


def named_budget(own: str, headers: Mapping[str, str]) -> str | None:
    """Return the path of the budget that a request names below *own*; `None` for none. Pure.

    Raises:
        Denied: It names one that is not below *own*, or not in the form that a path has.
    """
    text = headers.get(BUDGET)
    if text is not None:
        return _checked(own, text)
    session = next(filter(None, (headers.get(name, "").strip() for name in SESSIONS)), None)
    if session is None:
        return None
    plain = session if _PLAIN.fullmatch(session) else _digest(session)
    try:
        return parse_path(f"{own}/session-{plain}")
    except InvalidPath:
        return None  # the token's own path leaves no room


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_DIGEST]


def _checked(own: str, text: str) -> str:
    try:
        path = parse_path(text)
    except InvalidPath as error:
        words = f"{BUDGET} is no path of a budget: {error}"
        raise Denied(400, "invalid_budget", words) from None
    if path == own or not is_within(path, own):
        words = f"{BUDGET} names no budget below this token's: give {own}/ and a name"
        raise Denied(400, "invalid_budget", words)
    return path
