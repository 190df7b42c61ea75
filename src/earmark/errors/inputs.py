"""What a caller gave that cannot be used."""

import errno
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Final

from earmark.errors.base import EarmarkError


@dataclass(kw_only=True, eq=False)
class InputError(EarmarkError, ValueError):
    """The request itself is wrong; asking again changes nothing."""

    code: ClassVar[str] = "input_error"


@dataclass(kw_only=True, eq=False)
class _Malformed(InputError):
    """A value that is not what it should be: what was given, and what to give."""

    text: str
    want: str
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.text!r} is not {_with_article(self.kind)}: give {self.want}"


@dataclass(kw_only=True, eq=False)
class InvalidAmount(_Malformed):
    """Not an amount: negative, not a number, finer than a nano-dollar, or absurdly large."""

    code: ClassVar[str] = "invalid_amount"
    kind: str = "amount"

    def __str__(self) -> str:
        return f"{self.text} is not an {self.kind}: give {self.want}"


@dataclass(kw_only=True, eq=False)
class FloatAmount(InvalidAmount, TypeError):
    """A float was given as money; its digits are not the ones that were typed."""

    code: ClassVar[str] = "float_amount"


@dataclass(kw_only=True, eq=False)
class InvalidDuration(_Malformed):
    """Not a duration or not a moment in time."""

    code: ClassVar[str] = "invalid_duration"
    kind: str = "duration"


@dataclass(kw_only=True, eq=False)
class InvalidLimit(_Malformed):
    """Not a limit: unknown unit, window or time zone; *kind* names which."""

    code: ClassVar[str] = "invalid_limit"
    kind: str = "limit"


@dataclass(kw_only=True, eq=False)
class InvalidPath(_Malformed):
    """Not a budget path."""

    code: ClassVar[str] = "invalid_path"
    kind: str = "budget path"


@dataclass(kw_only=True, eq=False)
class InvalidKey(_Malformed):
    """Not a key or not labels of an operation."""

    code: ClassVar[str] = "invalid_key"
    kind: str = "key"


@dataclass(kw_only=True, eq=False)
class InvalidTask(_Malformed):
    """Something of a task that cannot be on the board; *kind* names what."""

    code: ClassVar[str] = "invalid_task"
    kind: str = "task"


@dataclass(kw_only=True, eq=False)
class InvalidUsage(InputError):
    """A request, a reply, an argument or counted units that cannot be; says what to give."""

    code: ClassVar[str] = "invalid_usage"
    detail: str

    def __str__(self) -> str:
        return f"refused: {self.detail}"


@dataclass(kw_only=True, eq=False)
class _Misplaced(InputError):
    """A document that is wrong at a place."""

    what: ClassVar[str]
    place: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what} refused at {self.place or '/'}: {self.detail}"


@dataclass(kw_only=True, eq=False)
class InvalidComposition(_Misplaced):
    """A graph that is no composition; *place* is a JSON pointer into it."""

    code: ClassVar[str] = "invalid_composition"
    what: ClassVar[str] = "composition"


@dataclass(kw_only=True, eq=False)
class InvalidStage(_Misplaced):
    """A stage's definition that is none; *place* is a JSON pointer into it."""

    code: ClassVar[str] = "invalid_stage"
    what: ClassVar[str] = "stage"


@dataclass(kw_only=True, eq=False)
class InvalidConfig(_Misplaced):
    """A setting that cannot be used; *place* names the file and the setting."""

    code: ClassVar[str] = "invalid_config"
    what: ClassVar[str] = "configuration"


def cannot_listen(host: str, port: int, error: OSError) -> InvalidConfig:
    """Return the error of a server that *error* keeps from listening, with what to do."""
    match error.errno:
        case errno.EADDRINUSE:
            detail = "another program listens there: end it, or give another by --port (0: any)"
        case errno.EACCES:
            detail = "this user may not listen there: give a port above 1023 by --port"
        case _:
            reason = (error.strerror or str(error)).partition(" (")[0]
            detail = f"cannot listen there ({reason}): give an address of this machine"
    return InvalidConfig(place=f"port {port} of {host}", detail=detail)


@dataclass(kw_only=True, eq=False)
class InvalidPatch(_Misplaced):
    """A patch that the quilt cannot keep; *place* names its part, or is a JSON pointer into it."""

    code: ClassVar[str] = "invalid_patch"
    what: ClassVar[str] = "patch"


@dataclass(kw_only=True, eq=False)
class InvalidNudge(_Malformed):
    """Something of a nudge that cannot be told to anybody; *kind* names what."""

    code: ClassVar[str] = "invalid_nudge"
    kind: str = "nudge"


@dataclass(kw_only=True, eq=False)
class InvalidFile(InputError):
    """Something given as a file that cannot be read as one."""

    code: ClassVar[str] = "invalid_file"
    path: str
    detail: str

    def __str__(self) -> str:
        return f"cannot read '{self.path}': {self.detail}"


def shown(value: object) -> str:
    """Return *value* as a message shows it: short, whatever it is."""
    if isinstance(value, str):
        return value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}…"
    if isinstance(value, int) and value.bit_length() > _MAX_SHOWN:
        # Python refuses to write out what has thousands of digits.
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, int | float | Decimal):
        return shown(str(value))
    return f"a {type(value).__name__}"


def quoted(value: object) -> str:
    """Return *value* as a message shows it, a text in quotes."""
    return repr(shown(value)) if isinstance(value, str) else shown(value)


def wrong_argument(name: str, value: object, want: str) -> InvalidUsage:
    """Return the error of an argument that is none: what was given, and what to give."""
    return InvalidUsage(detail=f"{name} is {quoted(value)}: give {want}")


_MAX_SHOWN: Final = 64


def _with_article(noun: str) -> str:
    return f"an {noun}" if noun[:1] in "aeio" else f"a {noun}"
