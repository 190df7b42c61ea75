"""A request that is refused before anything is held for it."""

from collections.abc import Mapping


class Denied(Exception):
    """The gateway answers the request itself, in the form of its API; nothing was held or sent."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}
