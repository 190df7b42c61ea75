"""`earmark demo`: the main job, on a real model: a plan, a run, a refusal, a burst, an audit."""

import os
from contextlib import ExitStack
from shlex import quote
from typing import Annotated, Final

import typer

from earmark.cli.demo.environment import DemoEnvironment, open_demo
from earmark.cli.demo.next_commands import SCRIPT, leave_next_commands
from earmark.cli.demo.steps import StepResult, burst, pipeline, prove, refusal
from earmark.cli.own_command import own_command
from earmark.cli.session import Session, command, group
from earmark.errors import InvalidConfig

app = group("See it work: a real model on this machine, no key, no account.")

#: Where the demo keeps its books unless told otherwise; a look at them afterwards is part of it.
DEFAULT_STORE: Final = "sqlite:///earmark-demo.db"


@command(app)
def demo(
    session: Session,
    *,
    model: Annotated[
        str | None,
        typer.Option(metavar="PROVIDER/MODEL", help="A real model instead: its key must be set."),
    ] = None,
    parallel: Annotated[
        int, typer.Option(metavar="N", min=2, max=512, help="How many runs the burst has.")
    ] = 32,
) -> None:
    """Plan, run, be refused, burst, audit: what budgets do, on a model that really answers.

    Needs no key and no account: a small model runs on this machine. With --model and the key of its
    provider (ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY) the same is done on that one, for a
    few cents.
    """
    if model is not None and "/" not in model:
        raise InvalidConfig(place="--model", detail=f"'{model}' is not provider/model")
    with ExitStack() as stack:
        url = session.store or os.environ.get("EARMARK_STORE") or DEFAULT_STORE
        demo = open_demo(session, stack, url, model)
        results = [pipeline(demo), refusal(demo), burst(demo, parallel), prove(demo)]
        # Their configuration names the store and the model that the demo has by default.
        leaves = url == DEFAULT_STORE and model is None
        commands = leave_next_commands() if leaves else []
        form = {**_form(demo, results), "next": commands}
        session.answer(form, _closing(demo, results[-1]), *_next(commands))
    if not all(each.ok for each in results):
        raise typer.Exit(1)


def _form(demo: DemoEnvironment, results: list[StepResult]) -> dict[str, object]:
    return {"model": demo.model, "store": demo.url, **{each.name: each.form for each in results}}


def _next(commands: list[str]) -> list[str]:
    if not commands:
        return []
    about = f"\nNow any program under a budget, here one of the OpenAI SDK ({SCRIPT}):"
    return [about, *(f"  {each}" for each in commands)]


def _closing(demo: DemoEnvironment, audit: StepResult) -> str:
    verdict = "Nothing was overspent" if audit.ok else "THE BOOKS ARE WRONG"
    look = f"{own_command()} --store {quote(demo.url)} budget show --tree"
    return f"\n{verdict}. Look around: `{look}`"
