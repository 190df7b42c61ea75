"""JSON bodies of the API: a member that is there twice is refused, where parsers take one of them.

Which of the two counts differs from one program to the next: what a proxy checked need not be what
the service does.
"""

import json
from typing import Any, Final

from starlette.requests import Request

from earmark.service.problems import ProblemError

_LONGEST_NAME: Final = 60


class DuplicateMember(ValueError):
    """An object has two members of one name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the member {name[:_LONGEST_NAME]!r} is there twice")


class JsonRequest(Request):
    """A request whose JSON body is read once, and strictly."""

    _value: Any
    _is_read = False

    async def json(self) -> Any:  # noqa: ANN401 - JSON of any kind
        """Return the body's JSON value.

        Raises:
            DuplicateMember: An object in it has two members of one name.
            ValueError, RecursionError: It is no JSON, or nests too deep.
        """
        if not self._is_read:
            self._value = json.loads(await self.body(), object_pairs_hook=_members)
            self._is_read = True
        return self._value


async def check_json(request: JsonRequest) -> None:
    """Refuse a JSON body with two members of one name; other faults are found where it is used.

    Raises:
        Problem: 400: it has such.
    """
    if not is_json(request):
        return
    try:
        await request.json()
    except DuplicateMember as error:
        raise ProblemError(400, "input_error", str(error)) from None
    except (ValueError, RecursionError):
        return


def is_json(request: Request) -> bool:
    """Return whether the body is said to be JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind.endswith(("/json", "+json"))


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        raise DuplicateMember(next(n for n, _ in pairs if n in seen or seen.add(n)))
    return members
