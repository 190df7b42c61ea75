"""The root of the error tree."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar


@dataclass(kw_only=True, eq=False)
class EarmarkError(Exception):
    """The root of the tree; `code` names the fact for machines."""

    code: ClassVar[str] = "error"
    statement: Any = field(default=None, repr=False)
    """What the run that this error ended cost; `None` outside of runs."""

    def __str__(self) -> str:
        return self.code

    def facts(self) -> dict[str, Any]:
        """Return the typed fields by name; a wire format decides how each is written."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.repr}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), {f.name: getattr(self, f.name) for f in fields(self)})


def _rebuild(kind: type[EarmarkError], values: dict[str, Any]) -> EarmarkError:
    return kind(**values)
