"""Exact amounts of US dollars: whole nano-dollars in 64 bits, a decimal string outside."""

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import total_ordering
from typing import Final

from earmark.errors import FloatAmount, InvalidAmount
from earmark.errors.inputs import shown

NANOS_PER_USD: Final = 1_000_000_000
#: The largest amount of one operation: 2^53-1 nano-dollars, about 9 million USD; exact in JSON too.
LARGEST_NANOS: Final = (1 << 53) - 1
#: The largest limit: 2^62 nano-dollars, about 4.6 billion USD; sums of limits fit 64 bits.
LARGEST_LIMIT_NANOS: Final = 1 << 62
#: The largest sum that every store holds. What is settled and held on an account never exceeds it.
LARGEST_SUM: Final = (1 << 63) - 1

#: An amount as requests and tasks write it: plain digits, for every JSON reader to check.
USD_PATTERN: Final = r"^[0-9]{1,10}(\.[0-9]{1,9})?$"

#: Longer texts are no amounts: 10 digits of dollars, a point, 9 digits and some zeros.
LONGEST_TEXT: Final = 40

_PLACES: Final = 9
_DIGITS: Final = 13
#: What a number with so many digits after its point is multiplied by.
_SCALES: Final = tuple(10 ** (_PLACES - places) for places in range(_PLACES + 1))
_SMALLEST_EXPONENT: Final = -10
_LARGEST_EXPONENT: Final = 12
_WANT = "US dollars as a decimal string such as '0.25', a Decimal, an int or Money"


@total_ordering
class Money:
    """An exact amount of USD; immutable, hashable, ordered.

    `Money("0.045864")`, `Money(3)` and `Money(Decimal("0.1"))` read dollars; `Money.nanos(n)` reads
    whole nano-dollars (1e-9 USD). `str()` gives the shortest exact decimal. Differences may be
    negative; amounts read from outside may not.

    Raises:
        FloatAmount: (a `TypeError`) for a float, whose digits are not the ones typed.
        InvalidAmount: (a `ValueError`) for anything else that is no amount: negative, NaN, finer
        than     a nano-dollar, larger than 2^62 nano-dollars.
    """

    __slots__ = ("_nanos",)
    _nanos: int

    def __init__(self, amount: "AmountLike" = 0) -> None:
        object.__setattr__(self, "_nanos", to_nanos(amount))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Money is immutable: cannot set {name}")

    @classmethod
    def nanos(cls, count: int) -> "Money":
        """Return *count* nano-dollars; may be negative."""
        made = cls.__new__(cls)
        object.__setattr__(made, "_nanos", count)
        return made

    @classmethod
    def ceil(cls, usd: Decimal | Fraction) -> "Money":
        """Return *usd* rounded up to a whole nano-dollar; the one rounding a cost ever gets."""
        scaled = Fraction(usd) * NANOS_PER_USD
        return cls.nanos(-(-scaled.numerator // scaled.denominator))

    @property
    def in_nanos(self) -> int:
        """The whole number of nano-dollars."""
        return self._nanos

    @property
    def decimal(self) -> Decimal:
        """The exact amount in USD."""
        return Decimal(self._nanos).scaleb(-9)

    def __add__(self, other: "Money") -> "Money":
        return (
            Money.nanos(self._nanos + other._nanos) if isinstance(other, Money) else NotImplemented
        )

    def __sub__(self, other: "Money") -> "Money":
        return (
            Money.nanos(self._nanos - other._nanos) if isinstance(other, Money) else NotImplemented
        )

    def __mul__(self, times: int) -> "Money":
        if isinstance(times, bool) or not isinstance(times, int):
            return NotImplemented
        return Money.nanos(self._nanos * times)

    __rmul__ = __mul__

    def __radd__(self, other: int) -> "Money":
        # Lets the built-in sum() start from 0.
        return self if other == 0 else NotImplemented

    def __neg__(self) -> "Money":
        return Money.nanos(-self._nanos)

    def __bool__(self) -> bool:
        return self._nanos != 0

    def __eq__(self, other: object) -> bool:
        return self._nanos == other._nanos if isinstance(other, Money) else NotImplemented

    def __lt__(self, other: "Money") -> bool:
        return self._nanos < other._nanos if isinstance(other, Money) else NotImplemented

    def __hash__(self) -> int:
        return hash(("Money", self._nanos))

    def __str__(self) -> str:
        return show_nanos(self._nanos)

    def __repr__(self) -> str:
        return f"Money('{self}')"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec) if not spec.endswith("f") else format(self.decimal, spec)

    def __reduce__(self) -> tuple[object, ...]:
        return Money.nanos, (self._nanos,)


AmountLike = Money | Decimal | int | str


def to_nanos(amount: AmountLike) -> int:
    """Return the nano-dollars of an amount given from outside; see `Money` for what is refused."""
    if isinstance(amount, str):
        return _from_text(amount)
    if isinstance(amount, Money):
        return _checked(amount.in_nanos, amount)
    if isinstance(amount, (bool, float)):
        raise FloatAmount(text=repr(amount), want=_WANT)
    if isinstance(amount, int):
        return _checked(amount * NANOS_PER_USD, amount)
    if isinstance(amount, Decimal):
        return _from_decimal(amount, amount)
    raise FloatAmount(text=f"a {type(amount).__name__}", want=_WANT)


def show_nanos(nanos: int) -> str:
    """Return nano-dollars as the shortest exact decimal of dollars."""
    whole, part = divmod(abs(nanos), NANOS_PER_USD)
    text = f"{whole}.{part:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if nanos < 0 else text


def _from_text(text: str) -> int:
    # Plain digits are what a hot ledger is given; Decimal, for the rest, costs ten times as much.
    whole, _, part = text.partition(".")
    digits = whole + part
    if len(whole) < _DIGITS and len(part) <= _PLACES and digits.isdigit() and text.isascii():
        return _checked(int(digits) * _SCALES[len(part)], text)
    return _from_long_text(text)


def _from_long_text(text: str) -> int:
    # A cap before parsing: Decimal("1e999999999") is cheap to read and ruinous to scale.
    # Decimal reads the digits of every script, which people do not tell from others.
    if len(text) > LONGEST_TEXT or "_" in text or not text.isascii():
        raise InvalidAmount(text=f"{text[:LONGEST_TEXT]!r}", want=_WANT)
    try:
        return _from_decimal(Decimal(text), text)
    except InvalidOperation:
        raise InvalidAmount(text=repr(text), want=_WANT) from None


def _from_decimal(amount: Decimal, given: object) -> int:
    if not amount.is_finite():
        raise InvalidAmount(text=shown(given), want=_WANT)
    # Judged by the exponent first: scaling "1e400" would make a number of 400 digits.
    if amount and not _SMALLEST_EXPONENT <= amount.adjusted() <= _LARGEST_EXPONENT:
        raise InvalidAmount(text=shown(given), want="an amount from 0.000000001 to 4000000000 USD")
    scaled = Fraction(amount) * NANOS_PER_USD
    if scaled.denominator != 1:
        raise InvalidAmount(
            text=shown(given), want="at most nine digits after the point (nano-dollars)"
        )
    return _checked(scaled.numerator, given)


def _checked(nanos: int, given: object) -> int:
    if nanos < 0:
        raise InvalidAmount(text=_text(nanos, given), want="zero or more US dollars")
    if nanos > LARGEST_LIMIT_NANOS:
        raise InvalidAmount(text=_text(nanos, given), want="at most 4611686018 USD")
    return nanos


def _text(nanos: int, given: object) -> str:
    """Return *given*, which is so many *nanos*, as a message shows it."""
    is_short = abs(nanos) < 10**LONGEST_TEXT
    return show_nanos(nanos) if isinstance(given, Money) and is_short else shown(given)
