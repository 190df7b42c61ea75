"""`earmark`: runs a command line, and leaves by the exit code that its outcome has.

0 done · 1 bad input, or books that cannot be read · 2 refused · 3 a stage failed · 130 interrupted.
Nothing heavy is imported here, for programs ask for the version to learn whether Earmark is there:
`earmark.cli.commands` answers everything else.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Final

from earmark import __version__

_BAD_INPUT: Final = 1
_INTERRUPTED: Final = 130
#: What a shell shows for a program whose reader went away.
_BROKEN_PIPE: Final = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; the entry point of `earmark`."""
    _never_fail_to_print()
    argv = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        return _give_up_output(_BROKEN_PIPE)
    except OSError as error:
        with suppress(OSError):  # standard output itself may be what failed
            _complain(argv, error)
        return _give_up_output(_BAD_INPUT)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def _run(argv: list[str]) -> int:
    if argv == ["--version"]:
        sys.stdout.write(f"earmark {__version__}\n")
        return 0
    from earmark.cli.commands import run_command  # noqa: PLC0415 - loads what is used

    return run_command(argv)


def _complain(argv: list[str], error: OSError) -> None:
    from earmark.cli.commands import complain  # noqa: PLC0415 - loads what is used

    sentence = error.strerror or str(error)
    complain(argv, sentence, {"error": {"code": "error", "message": sentence}})
    sys.stdout.flush()


def _never_fail_to_print() -> None:
    # A terminal that cannot show a character gets its number: no reason to lose a finished run.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up_output(code: int) -> int:
    # The interpreter flushes once more at its end, which must not fail then.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    sys.exit(main())
