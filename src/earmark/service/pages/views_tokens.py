"""Tokens of the gateway as the pages show them: what each may spend, and what is left of it."""

from collections.abc import Container, Iterable
from dataclasses import dataclass

from earmark.money import Money
from earmark.workspace.gateway_access import GatewayAccess
from earmark.workspace.tokens import TokenRow


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLine:
    """One token in the list."""

    token: TokenRow
    access: GatewayAccess
    left: Money | None
    """What its budget's whole path has left; `None` where no limit is in USD."""
    state: str
    mark: str
    """The chip's class."""
    mode: str
    """Its mode, where that or its tree observes; else empty."""
    overlaps: bool
    """Whether a secret that was replaced still opens."""

    @property
    def terms(self) -> str:
        """What it may call, in one line."""
        access = self.access
        most = access.most_per_request
        parts = [
            *access.providers,
            *access.models,
            *([] if most is None else [f"at most {most} USD a request"]),
            *(["may bound its requests"] if access.may_bound else []),
            *([f"tier {access.tier}"] if access.tier else []),
            *([f"refused with {access.refusal_status}"] if access.refusal_status else []),
        ]
        return ", ".join(parts) or "whatever is configured"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensView:
    """The page of tokens."""

    tokens: tuple[TokenLine, ...]
    first_page: str = ""
    next_page: str = ""

    @property
    def summary(self) -> str:
        """How many there are, in one sentence."""
        ok = sum(each.state == "ok" for each in self.tokens)
        return f"{ok} of {len(self.tokens)} tokens open something"


def tokens_view(
    found: Iterable[tuple[TokenRow, Money | None]],
    now: int,
    *,
    observed: Container[str],
    first_page: str,
    next_page: str,
) -> TokensView:
    """Return the page of *found*: tokens of the gateway, each with what its budget has left.

    *observed* has the roots whose trees are observed.
    """
    lines = tuple(
        _line(row, row.access, left, now, is_observed=row.access.root in observed)
        for row, left in found
        if row.access
    )
    return TokensView(tokens=lines, first_page=first_page, next_page=next_page)


def _line(
    row: TokenRow, access: GatewayAccess, left: Money | None, now: int, *, is_observed: bool
) -> TokenLine:
    valid = row.is_valid(now)
    return TokenLine(
        token=row,
        access=access,
        left=left,
        state="ok" if valid else "revoked" if row.revoked_at else "expired",
        mark="ok" if valid else "cancelled",
        mode=mode if (mode := access.describe_mode(is_observed=is_observed)) != "enforce" else "",
        overlaps=valid and row.overlap_until > now,
    )
