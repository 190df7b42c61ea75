"""What every command is told, and the two ways it answers: JSON for programs, text for people.

The answer of a command goes to standard output; progress and complaints go to standard error.
"""

import inspect
import json as jsonlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Concatenate, ParamSpec, Protocol, TextIO

import typer

from earmark.workspace.jsonable import expand_exponents, to_jsonable

P = ParamSpec("P")


class AnswerPart(Protocol):
    """A piece of an answer for people, such as a table."""

    def write(self) -> None:
        """Write it to standard output."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The options that every command takes."""

    STORE_HELP: ClassVar = (
        "Where the books are: EARMARK_STORE, else earmark.toml, else ./earmark.db."
    )
    CONFIG_HELP: ClassVar = "The configuration; the nearest earmark.toml unless given."
    JSON_HELP: ClassVar = "Answer with one JSON document on standard output."

    store: str | None = None
    config: Path | None = None
    json: bool = False

    def with_overrides(self, *, store: str | None, config: Path | None, json: bool) -> "Session":
        """Return the session with what was given after the command's name laid over it."""
        return Session(
            store=store or self.store, config=config or self.config, json=json or self.json
        )

    def answer(self, form: Mapping[str, Any], *parts: "AnswerPart | str") -> None:
        """Write *form* as JSON if that was asked for, else the *parts* for people."""
        if self.json:
            write_json(form)
            return
        for part in parts:
            if isinstance(part, str):
                sys.stdout.write(f"{part}\n")
            else:
                part.write()

    def flush(self) -> None:
        """Let readers of standard output see what was written so far; for commands that stay."""
        sys.stdout.flush()

    def tell(self, sentence: str) -> None:
        """Tell people something beside the answer."""
        sys.stderr.write(f"earmark: {sentence}\n")


def write_json(form: Mapping[str, Any], file: TextIO | None = None) -> None:
    """Write one JSON document, in ASCII so that no terminal can spoil it.

    To standard output unless *file* is another one.
    """
    text = jsonlib.dumps(to_jsonable(form), indent=2, allow_nan=False)
    (file or sys.stdout).write(f"{expand_exponents(text)}\n")


def group(help: str) -> typer.Typer:  # noqa: A002 - Typer's own word
    """Return an empty group of commands."""
    return typer.Typer(
        help=help,
        add_completion=False,
        rich_markup_mode=None,
        context_settings=_HELP,
    )


CommandBody = Callable[Concatenate[Session, P], None]


def command(
    app: typer.Typer,
    name: str | None = None,
    *,
    options_first: bool = False,
    json_help: str = Session.JSON_HELP,
) -> Callable[[CommandBody[P]], CommandBody[P]]:
    """Make a function of a session a command of *app*, with the options every command takes.

    With *options_first* all that follows the first argument is arguments, options of another
    command among them. *json_help* says what `--json` does where that is another thing.
    """
    settings = {**_HELP, "allow_interspersed_args": False} if options_first else None

    def register(body: CommandBody[P]) -> CommandBody[P]:
        app.command(name or body.__name__, context_settings=settings)(_typed(body, _run, json_help))
        return body

    return register


def default(app: typer.Typer) -> Callable[[CommandBody[P]], CommandBody[P]]:
    """Make a function of a session what the group *app* does when no command of it is named."""

    def register(body: CommandBody[P]) -> CommandBody[P]:
        app.callback(invoke_without_command=True)(_typed(body, _run_alone))
        return body

    return register


def _run(body: CommandBody[...], context: typer.Context, options: dict[str, Any]) -> None:
    context.obj = context.obj.with_overrides(
        **{key: options.pop(key) for key in _COMMON.parameters}
    )
    body(context.obj, **options)


def _run_alone(body: CommandBody[...], context: typer.Context, options: dict[str, Any]) -> None:
    _run(body if context.invoked_subcommand is None else _nothing, context, options)


def _nothing(_: Session, **_given: object) -> None:
    """A command of the group does the work."""


def _typed(
    body: CommandBody[...],
    run: Callable[[CommandBody[...], typer.Context, dict[str, Any]], None],
    json_help: str = Session.JSON_HELP,
) -> Callable[..., None]:
    """Return a function with the parameters of *body* and the common ones, as Typer reads them."""

    def called(*, context: typer.Context, **options: Any) -> None:  # noqa: ANN401 - the body's options
        run(body, context, options)

    _, *own = inspect.signature(body).parameters.values()
    first = inspect.Parameter("context", _KEYWORD, annotation=typer.Context)
    parameters = [
        first,
        *(each.replace(kind=_KEYWORD) for each in own),
        *_COMMON.parameters.values(),
    ]
    as_json = Annotated[bool, typer.Option("--json", help=json_help)]
    parameters[-1] = parameters[-1].replace(annotation=as_json)
    called.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    called.__doc__ = body.__doc__
    return called


def _common(
    *,
    store: Annotated[str | None, typer.Option(metavar="URL", help=Session.STORE_HELP)] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help=Session.CONFIG_HELP)] = None,
    json: Annotated[bool, typer.Option("--json", help=Session.JSON_HELP)] = False,
) -> None:
    """Take the options every command takes."""


_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_HELP = {"help_option_names": ["-h", "--help"]}
_COMMON = inspect.signature(_common)
