"""A person at a real browser, who notes what it complains of."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from support.lazily import Lazily
from support.page_site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page, StorageState

playwright = Lazily("playwright.sync_api")

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
#: What a console says when something is wrong.
COMPLAINTS = {"error", "warning"}
#: A loaded machine takes its time.
PATIENCE_MS = 600_000


def expect(seen: Any) -> Any:
    """Expect something of what is *seen*, and wait for it."""
    playwright.expect.set_options(timeout=PATIENCE_MS)
    return playwright.expect(seen)


@dataclass
class Eyes:
    """A person at a browser, and what the browser complains of meanwhile."""

    browser: "Browser"
    site: Site
    remembered: "StorageState | None" = None
    contexts: "list[BrowserContext]" = field(default_factory=list)
    faults: list[str] = field(default_factory=list[str])

    def look(self, address: str = "/", **options: object) -> "Page":
        """Open a page in a browser of its own, logged in as before if somebody was."""
        given = {"viewport": DESK, "storage_state": self.remembered, **options}
        context = self.browser.new_context(**given)  # pyright: ignore[reportArgumentType]
        self.contexts.append(context)
        page = self.watched(context)
        page.goto(self.site.url + address)
        return page

    def log_in(self) -> None:
        """Log in with a token, and remember the session for whoever looks later."""
        page = self.look("/login?next=/agents")
        page.get_by_label("Token").fill(self.site.token)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Agents")
        self.remembered = page.context.storage_state()
        page.context.close()

    def watched(self, context: "BrowserContext") -> "Page":
        """Return a new page whose complaints, dialogs and requests are noted."""
        page = context.new_page()
        host = urlsplit(self.site.url).netloc
        note = self.faults.append

        def dismiss(dialog: "Dialog") -> None:
            note(dialog.message)
            dialog.dismiss()

        page.on("console", lambda said: note(said.text) if said.type in COMPLAINTS else None)
        page.on("pageerror", lambda error: note(str(error)))
        page.on("dialog", dismiss)
        page.on("request", lambda r: None if urlsplit(r.url).netloc == host else note(r.url))
        return page
