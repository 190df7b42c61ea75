"""What a token of the gateway may spend: its budget, its terms and its mode."""

from fnmatch import fnmatchcase
from typing import Final, Literal, Self, get_args

from msgspec import Struct

from earmark.budget.path import parse_path
from earmark.errors import InvalidKey
from earmark.money import Money

#: `enforce`: it spends only where the limits of its budget bind, in no observed tree. `observe`: in
#: an observed tree too; where the limits bind, they bind it as any other.
TokenMode = Literal["enforce", "observe"]

REFUSAL_STATUSES: Final = (402, 403, 429, 400)
LONGEST_NAME: Final = 100
#: Of the table of tokens.
ACCESS_COLUMNS: Final = (
    "budget, providers, models, most_per_request, may_bound, tier, refusal_status, mode"
)
_MODES: Final[tuple[TokenMode, ...]] = get_args(TokenMode)


class GatewayAccess(Struct, frozen=True, kw_only=True):
    """What a token of the gateway may spend."""

    budget: str
    """The path of the budget that pays for every call."""
    providers: tuple[str, ...] = ()
    """Who may be called; empty for all that are configured."""
    models: tuple[str, ...] = ()
    """Which models, `*` for any letters; empty for all.

    A pattern with a slash is of `provider/name`, one without of the provider's name for a model.
    """
    most_per_request: Money | None = None
    """The most that one call may hold; `None` for whatever the budget has."""
    may_bound: bool = False
    """Whether a request that nothing bounds passes with a bound of its own."""
    tier: str = ""
    """The service tier of requests that name none; empty for none."""
    refusal_status: int | None = None
    """The HTTP status of what its budget refuses, one of `REFUSAL_STATUSES`; `None` for that which
    stops each client."""
    mode: TokenMode = "enforce"

    @property
    def root(self) -> str:
        """The root of its budget's tree."""
        return self.budget.partition("/")[0]

    def allows(self, provider: str, model: str) -> bool:
        """Return whether *model* of *provider* may be called."""
        if self.providers and provider not in self.providers:
            return False
        # A router's own name for a model may begin with another provider's.
        return not self.models or any(
            fnmatchcase(f"{provider}/{model}" if "/" in pattern else model, pattern)
            for pattern in self.models
        )

    def describe_mode(self, *, is_observed: bool) -> str:
        """Return its mode in words, and what follows from whether its tree is observed."""
        if self.mode == "observe":
            return "observe" if is_observed else "observe; its tree does not: its limits bind"
        return "enforce; its tree is observed: calls are refused" if is_observed else "enforce"

    def to_columns(self) -> tuple[str | int, ...]:
        """Return it as `ACCESS_COLUMNS`."""
        return (
            self.budget,
            " ".join(self.providers),
            " ".join(self.models),
            0 if self.most_per_request is None else self.most_per_request.in_nanos,
            int(self.may_bound),
            self.tier,
            self.refusal_status or 0,
            self.mode,
        )

    @classmethod
    def from_columns(
        cls,
        budget: str,
        providers: str,
        models: str,
        most: int,
        may_bound: int,
        tier: str,
        refusal_status: int,
        mode: str,
    ) -> Self:
        """Return what `to_columns` gave."""
        return cls(
            budget=budget,
            providers=tuple(providers.split()),
            models=tuple(models.split()),
            most_per_request=Money.nanos(most) if most else None,
            may_bound=bool(may_bound),
            tier=tier,
            refusal_status=refusal_status or None,
            # A mode that a newer program wrote is not known to be safe.
            mode="observe" if mode == "observe" else "enforce",
        )


def check_access(access: GatewayAccess) -> None:
    """Refuse what no token can have.

    Raises:
        InvalidPath: The budget is no path.
        InvalidKey: A provider, a model, the tier, the status or the mode is none, or the amount is
            not above 0.
    """
    parse_path(access.budget)
    tiers = (access.tier,) if access.tier else ()
    named = {"provider": access.providers, "model": access.models, "tier": tiers}
    for kind, names in named.items():
        for name in names:
            if not name.isprintable() or not name or " " in name or len(name) > LONGEST_NAME:
                want = f"1 to {LONGEST_NAME} printable characters without spaces"
                raise InvalidKey(text=name[:40], want=want, kind=f"name of a {kind}")
    most = access.most_per_request
    if most is not None and most <= Money():
        raise InvalidKey(text=str(most), want="an amount above 0", kind="most per request")
    status = access.refusal_status
    if status is not None and status not in REFUSAL_STATUSES:
        want = f"one of {', '.join(map(str, REFUSAL_STATUSES))}"
        raise InvalidKey(text=str(status)[:40], want=want, kind="refusal status")
    parse_mode(access.mode)


def parse_mode(text: str) -> TokenMode:
    """Return the mode that *text* names.

    Raises:
        InvalidKey: It names none.
    """
    for mode in _MODES:
        if text == mode:
            return mode
    raise InvalidKey(text=text[:40], want=f"one of {', '.join(_MODES)}", kind="mode of a token")
