"""The session of one command: a budget of its own, and a token that is kept nowhere."""

import hmac
from collections import Counter
from collections.abc import Sequence
from secrets import token_urlsafe

from earmark.errors import CallFailed, NoBudget
from earmark.gateway.endpoints import NO_PAGE
from earmark.gateway.metrics import refusal_reason
from earmark.ids import new_key, new_run_id
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.stores.store_url import with_folder
from earmark.workspace.gateway_access import GatewayAccess
from earmark.workspace.session_statement import SessionStatement, read_calls, usd_left
from earmark.workspace.tokens import GATEWAY, TokenRow


class CommandSession:
    """What one command may spend, who it is to the gateway, and what it was refused."""

    def __init__(
        self, ledger: Ledger, under: str, up_to: Money | None, *, actor: str, notices: Sequence[str]
    ) -> None:
        """Open a budget below *under* that all its calls count on; durable.

        Args:
            ledger: The books.
            under: The path of the budget that pays.
            up_to: The most it may spend, on top of the limits above it; `None` for those alone.
            actor: Who starts it.
            notices: What they should know of it, kept in the statement.

        Raises:
            NoBudget: There is no limit: neither *up_to* nor one of the budgets above.
        """
        clock = ledger.clock
        self._ledger = ledger
        self._limit = up_to
        self.notices = notices
        self.budget = f"{under}/exec-{new_run_id(clock)}"
        if up_to is None and not ledger.store.accounts(under, clock.instant()):
            raise NoBudget(budget=under)
        root, heads = under.partition("/")[0], ledger.store.heads()
        # All of the session's entries come after the last of its tree until now.
        self._after = heads.get("", heads.get(root, 0))
        ledger.set_budget(
            self.budget,
            limits=[] if up_to is None else [f"{up_to} usd total"],
            actor=actor,
            reason="earmark exec",
            kind="session",
        )
        top = ledger.store.budget(root)
        self._observed = top is not None and top.observed
        # Not one of the store's: it ends with this process, however that ends.
        self._row = TokenRow(
            id=new_key(clock),
            name="earmark exec",
            scopes=(GATEWAY,),
            created_at=clock.instant(),
            expires_at=0,
            revoked_at=0,
            access=GatewayAccess(
                budget=self.budget, mode="observe" if self._observed else "enforce"
            ),
        )
        self.token = f"emk_{self._row.id.replace('-', '')}_{token_urlsafe(32)}"
        self._refusals: Counter[str] = Counter()
        self._last_refusal = ""

    def check_token(self, secret: str) -> TokenRow | None:
        """Return the row of the session's token if *secret* is it."""
        same = hmac.compare_digest(secret.encode(), self.token.encode())
        return self._row if same else None

    def refused(self, error: Exception) -> None:
        """Count a request answered by *error*; a failed call and a health check are none."""
        reason = refusal_reason(error)
        if isinstance(error, CallFailed) or reason == NO_PAGE:
            return
        self._refusals[reason] += 1
        self._last_refusal = str(error)

    def has_calls_under_way(self) -> bool:
        """Return whether a hold is open."""
        return bool(self._ledger.holds(self.budget, state="open", most=1))

    def statement(self) -> SessionStatement:
        """Return what its calls came to until now."""
        ledger = self._ledger
        return SessionStatement(
            store=with_folder(ledger.store.name),
            budget=self.budget,
            models=read_calls(ledger, self.budget, after=self._after),
            limit=self._limit,
            observed=self._observed,
            left=usd_left(ledger.store.accounts(self.budget, ledger.clock.instant())),
            refusals=dict(self._refusals),
            last_refusal=self._last_refusal,
            notices=self.notices,
        )
