"""A line that says how far a long command has come, once it takes longer than a second."""

from typing import Final, Self, TextIO

from earmark.clock import NANOS_PER_SECOND, Clock

_CLEAR: Final = "\r\x1b[K"


class ProgressLine:
    """Tells on *stream*: on a terminal one line that changes each second, else a line each ten."""

    def __init__(self, clock: Clock, stream: TextIO) -> None:
        self._clock = clock
        self._stream = stream
        self._terminal = stream.isatty()
        self._every = NANOS_PER_SECOND * (1 if self._terminal else 10)
        self._due = clock.elapsed() + NANOS_PER_SECOND
        self._printed = False

    def tell(self, text: str) -> None:
        """Say *text* if it is time to."""
        now = self._clock.elapsed()
        if now < self._due:
            return
        self._due = now + self._every
        self._printed = True
        self._stream.write(f"{_CLEAR}{text} …" if self._terminal else f"{text} …\n")
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._printed and self._terminal:
            self._stream.write(_CLEAR)
            self._stream.flush()
