"""From values to HTML: templates in which everything is escaped and nothing may be missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from earmark.service.auth import Caller
from earmark.service.pages.assets import FOLDER, address
from earmark.service.pages.formatting import (
    DisplayedTime,
    count,
    moment,
    money_of,
    pretty,
    stretch,
    usd,
)
from earmark.service.pages.markdown import rendered
from earmark.service.pages.views_budgets import amount_of_entry, remarks_on_entry
from earmark.service.pages.views_nudges import (
    alert_texts,
    attempts_of_delivery,
    mark_of_nudge,
    state_of_delivery,
)
from earmark.service.pages.views_runs import mark_of_outcome, remark_on, stage_of, took
from earmark.service.pages.views_task import books_of

#: The part of a page that changes while somebody looks: a block of its template.
LIVE: Final = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What is around every page."""

    title: str
    here: str
    """Which entry of the navigation the page belongs to."""
    address: str
    """Its own path, to come back to."""
    caller: Caller
    now: int = 0
    problem: str = ""
    """What was refused, with its numbers; empty if nothing was."""
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    """What was typed, to be shown again."""

    def at(self, instant: int) -> DisplayedTime | None:
        """Return an instant as the page shows it; None for 0, which is "not yet"."""
        return moment(instant, self.now)

    def typed(self, name: str, otherwise: object = "") -> str:
        """Return what was typed into the field *name*."""
        return self.form.get(name, str(otherwise))

    def may(self, scope: str) -> bool:
        """Return whether forms that need *scope* are shown: they need a session, too."""
        return bool(self.caller.csrf) and self.caller.may(scope)


def page(template: str, frame: Frame, view: object) -> str:
    """Return the whole page."""
    return environment().get_template(template).render(frame=frame, view=view)


def fragment(template: str, frame: Frame, view: object) -> str:
    """Return the part of the page that changes; empty where nothing does."""
    found = environment().get_template(template)
    block = found.blocks.get(LIVE)
    if block is None:
        return ""
    return "".join(block(found.new_context({"frame": frame, "view": view})))


@cache
def environment() -> Environment:
    """Return the one environment; made when the first page is written."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(_GLOBALS)
    made.filters.update(_FILTERS)
    # For every template, and for a fragment, of which only the block is written.
    parts: Any = made.get_template("parts.html").module
    made.globals["parts"] = parts
    return made


_GLOBALS: Final[Mapping[str, Any]] = {"asset": address, "markdown": rendered, "money_of": money_of}
_FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "usd": usd,
    "count": count,
    "stretch": stretch,
    "pretty": pretty,
    "books_of": books_of,
    "mark_of_nudge": mark_of_nudge,
    "state_of_delivery": state_of_delivery,
    "attempts_of_delivery": attempts_of_delivery,
    "alert_texts": alert_texts,
    "mark_of_outcome": mark_of_outcome,
    "stage_of": stage_of,
    "remark_on": remark_on,
    "took": took,
    "amount_of_entry": amount_of_entry,
    "remarks_on_entry": remarks_on_entry,
}
