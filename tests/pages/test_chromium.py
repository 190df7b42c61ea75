"""The pages in a real browser, on a real service with a real heartbeat behind it."""

import asyncio
import re
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from earmark.runs.journal_tables import TablesJournal
from earmark.stores.open import open_ledger
from earmark.workspace.workspace import open_workspace
from support.page_eyes import CHROMIUM, FLAGS, PHONE, Eyes, expect, playwright
from support.page_house import HOSTILE
from support.page_site import COST, Site, page_site
from support.written_runs import record, statement_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, StorageState


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """One browser for all; it ends with the file, for its loop keeps others from running one."""
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser at {CHROMIUM}: `apt-get install chromium` brings one")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def site(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all, with a service and a heartbeat as processes."""
    del browser  # first: without one there is nothing to start a site for
    with page_site(tmp_path_factory.mktemp("site")) as started:
        yield started


@pytest.fixture(scope="module")
def session(browser: "Browser", site: Site) -> "StorageState":
    """The cookies of somebody who logged in."""
    seen = Eyes(browser, site)
    seen.log_in()
    assert seen.faults == []
    assert seen.remembered is not None
    return seen.remembered


@pytest.fixture
def eyes(browser: "Browser", site: Site, session: "StorageState") -> Iterator[Eyes]:
    """Somebody logged in, who sees no error, no dialog and no request to another host."""
    seen = Eyes(browser, site, session)
    yield seen
    for context in seen.contexts:
        context.close()
    assert seen.faults == []


def add(page: "Page", title: str, description: str = "", **more: str) -> None:
    """Add a task on the page, as a person does."""
    page.get_by_role("link", name="New task").click()
    page.get_by_label("Title").fill(title)
    page.get_by_label("Description").fill(description)
    page.get_by_text("What is sent").click()
    page.get_by_label("Max tokens").fill(more.get("max_tokens", "4000"))
    page.get_by_role("button", name="Add the task").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(
        re.sub(r"\[.*?\]", "", title).strip()
    )


def test_the_whole_story(eyes: Eyes, site: Site) -> None:
    """A task added on the page completes on the page; the bar moves; a pause is seen to refuse."""
    answer = threading.Event()
    site.answers("I'll implement it.\nDone.", waits=answer)
    bars = eyes.look("/budgets/c8/cloud-lu")
    bars.evaluate("window.same = true")
    dollars = bars.get_by_role("meter", name="0.5 usd per 30min")
    expect(dollars).to_have_attribute("aria-valuetext", re.compile("^0 settled, 0 held"))

    page = eyes.look("/")
    add(page, "[SELF-10] Persistent budget tracker", "## SELF-10\n- Expose in health endpoint")
    page.evaluate("window.same = true")
    status = page.get_by_label("About the task").locator(".status").first
    expect(status).to_have_text("running")
    expect(dollars).to_have_attribute("aria-valuetext", re.compile(r"^0 settled, 0\.06\d* held"))
    answer.set()
    expect(status).to_have_text("completed")
    expect(page.locator("#cost")).to_have_text(COST)
    expect(page.locator("#result")).to_contain_text('"output_tokens": 3025')
    expect(page.locator("#claimed-by")).to_have_text("Cloud Lu → m")
    expect(page.locator("#announce")).to_have_text("Task Persistent budget tracker: completed")
    expect(dollars).to_have_attribute("aria-valuetext", re.compile(f"^{COST} settled, 0 held"))
    assert float(dollars.locator(".settled").get_attribute("width") or 0) > 0

    bars.get_by_label("Why").first.fill("too dear today")
    bars.get_by_role("button", name="Pause").click()
    expect(bars.get_by_text("by Carlos: too dear today")).to_be_visible()
    page.get_by_role("button", name="Accept").click()
    expect(page.get_by_label("About the task").locator(".status").first).to_have_text("accepted")
    page.get_by_role("link", name="← Board").click()
    expect(page.get_by_text("budget 'c8/cloud-lu' is paused by Carlos: too dear")).to_be_visible()
    add(page, "[SELF-11] Another one")
    refusal = page.locator("#waits")
    expect(refusal).to_contain_text("budget 'c8/cloud-lu' is paused by Carlos: too dear today")
    expect(page.get_by_label("About the task").locator(".status").first).to_have_text("pending")
    page.evaluate("window.same = true")
    bars.get_by_role("button", name="Resume").click()
    expect(page.get_by_label("About the task").locator(".status").first).to_have_text("completed")
    assert page.evaluate("window.same"), "nobody loaded the page again"


def test_the_board_follows_without_disturbing(eyes: Eyes, site: Site) -> None:
    """Rows change while somebody types, reads and scrolls; nothing of that is lost."""
    site.answers()
    for number in range(3):
        site.add(f"[FILL-{number}] Filler")
    page = eyes.look("/", viewport={"width": 1280, "height": 300})
    page.evaluate("window.same = true")
    page.get_by_text("Filter and order").click()
    words = page.get_by_label("Words")
    words.fill("half a sen")
    first = page.locator("tbody tr").last.get_by_role("link").first
    first.focus()
    focused = first.get_attribute("id")
    page.mouse.wheel(0, 120)
    page.wait_for_function("() => window.scrollY > 100")
    scrolled = page.evaluate("window.scrollY")
    site.add("[LIVE-1] Comes by itself")
    row = page.locator("tr", has_text="Comes by itself")
    expect(row.locator(".status")).to_have_text("completed")
    expect(row).to_contain_text(f"{COST} USD")
    assert words.input_value() == "half a sen"
    assert page.evaluate("document.activeElement.id") == focused
    assert page.evaluate("window.scrollY") == scrolled
    assert page.evaluate("window.same")
    assert page.locator("#d-filter").get_attribute("open") is not None


def test_a_half_written_note_is_not_swapped_away(eyes: Eyes, site: Site) -> None:
    """While somebody types into a form, what is around it changes and the form does not."""
    made = site.add("[NOTE-1] Noted", assignee="Nobody")
    page = eyes.look(f"/tasks/{made}")
    note = page.get_by_label("Note")
    note.fill("because it")
    site.send(f"/v1/tasks/{made}/cancel", {"note": "faster"})
    expect(page.get_by_label("About the task").locator(".status").first).to_have_text("cancelled")
    expect(page.get_by_role("table", name="Decisions")).to_contain_text("faster")
    expect(note).to_have_value("because it")
    page.get_by_role("button", name="Cancel the task").click()
    refusal = page.get_by_role("alert")
    expect(refusal).to_contain_text(f"cancel of task {made} refused: it is cancelled")
    expect(refusal).to_be_focused()
    eyes.faults = [fault for fault in eyes.faults if "409 (Conflict)" not in fault]


def test_the_form_is_reached_and_sent_by_keys_alone(eyes: Eyes, site: Site) -> None:
    """From the top of the page to a new task with Tab, Enter and letters."""
    site.answers()
    page = eyes.look("/tasks/new")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    expect(page.get_by_text("Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    for target in (page.get_by_role("link", name="← Board"), page.get_by_label("Title")):
        page.keyboard.press("Tab")
        expect(target).to_be_focused()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.type("[KEYS-1] By keys alone")
    for _ in range(7):
        page.keyboard.press("Tab")
    expect(page.get_by_text("For whom, when, how often")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Only for")).to_be_focused()
    page.keyboard.type("Nobody")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("KEYS-1By keys alone")
    expect(page.get_by_text("It is for Nobody alone.")).to_be_hidden()
    expect(page.get_by_role("definition").first).to_have_text("Nobody")


PAGES = ("/", "/tasks/new", "TASK", "/budgets", "/budgets/c8/cloud-lu", "/runs", "/nudges",
         "/agents", "/login", "/nowhere-at-all")  # fmt: skip


def test_a_phone_never_scrolls_sideways(eyes: Eyes, site: Site) -> None:
    """At 360 pixels every page is one column, with long words in it, and buttons can be hit."""
    long = "x" * 180
    made = site.add(long, description=f"`{long}` {long}", labels=[long[:64]])
    page = eyes.look("/", viewport=PHONE, has_touch=True)
    for address in PAGES[:-1]:
        page.goto(site.url + address.replace("TASK", f"/tasks/{made}"))
        for details in page.locator("details > summary").all():
            details.click()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"], address
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 24, "WCAG 2.2, target size"


def test_a_card_is_still_a_row_of_a_table(eyes: Eyes, site: Site) -> None:
    """To a screen reader a phone's cards are a table, and a page has landmarks and headings."""
    site.add("[ROWS-1] A row", assignee="Nobody")
    page = eyes.look("/", viewport=PHONE)
    row = page.get_by_role("table", name="Tasks").get_by_role("row", name="A row")
    expect(row.get_by_role("rowheader")).to_contain_text("A row")
    expect(row.get_by_role("cell")).to_have_count(3)  # the others say nothing
    expect(page.get_by_role("navigation", name="Pages")).to_have_count(1)
    page.get_by_text("Filter and order").click()
    for landmark in ("banner", "main", "contentinfo", "search"):
        expect(page.get_by_role(landmark)).to_have_count(1)
    page.goto(f"{site.url}/budgets/c8")
    expect(page.get_by_role("meter", name="10 usd per day")).to_have_count(1)
    expect(page.get_by_role("img", name="straight line")).to_have_count(1)
    page.get_by_text("The window as a table").click()
    expect(page.get_by_role("table", name="10 usd per day").get_by_role("row")).to_have_count(9)


def test_dark_is_dark_and_light_is_light(eyes: Eyes) -> None:
    """The scheme is the reader's, without a reload, for fields and tables too."""
    page = eyes.look("/tasks/new", color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    field_ = "getComputedStyle(document.querySelector('#title')).backgroundColor"
    light = page.evaluate(paper), page.evaluate(field_)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(paper), page.evaluate(field_)
    assert light == ("rgb(251, 250, 247)", "rgb(255, 255, 255)")
    assert dark == ("rgb(20, 21, 19)", "rgb(27, 28, 26)")


#: Puts onto a page what no page of ours has, and tells whether it ran.
SMUGGLED = """() => new Promise((done) => {
  document.body.insertAdjacentHTML("beforeend", "<img src=/nothing onerror='window.ran = 1'>");
  const told = () => done(window.ran ?? null);
  document.querySelector("img").addEventListener("error", told);
})"""


def test_no_stored_text_ever_runs(eyes: Eyes, site: Site) -> None:
    """A task full of scripts is shown, on the list, on its page and in a swapped part."""
    bad = f"{HOSTILE}<svg onload=alert(1)>"
    site.answers(f"{bad}\n{bad}")
    page = eyes.look("/")
    page.evaluate("window.same = true")
    made = site.add(bad, description=bad, labels=["<b>"])
    row = page.locator("tr", has=page.locator(f"a[href='/tasks/{made}']"))
    expect(row.locator(".status")).to_have_text("completed")
    expect(row).to_contain_text("<svg onload=alert(1)>")
    page.goto(f"{site.url}/tasks/{made}")
    page.get_by_text("The answer as text").click()
    expect(page.locator(".prose")).to_contain_text("<script>alert('x')</script>")
    assert page.locator("main script, main img, main svg[onload], main b").count() == 0
    assert page.evaluate(SMUGGLED) is None, "the policy stops what a page never has"
    eyes.faults = [f for f in eyes.faults if "inline event handler" not in f and "404" not in f]


def test_without_its_script_a_page_still_works(eyes: Eyes, site: Site) -> None:
    """Forms are forms and links are links; reading and deciding need no script."""
    made = site.add("[PLAIN-1] No script", assignee="Nobody")
    page = eyes.look(f"/tasks/{made}", java_script_enabled=False)
    page.get_by_label("Note").fill("not any more")
    page.get_by_role("button", name="Cancel the task").click()
    expect(page.get_by_label("About the task").locator(".status").first).to_have_text("cancelled")
    expect(page.get_by_text("not any more")).to_be_visible()


#: What a browser does to a page that nobody sees, and to one that somebody sees again.
HIDES = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_page_that_nobody_sees_gives_up_its_connection(eyes: Eyes, site: Site) -> None:
    """A browser has six to a host: seven pages are open, each loads, and each is live when seen."""
    board = eyes.look("/")
    tabs = [board, *(board.context.new_page() for _ in range(6))]
    for tab in tabs[1:]:
        tabs[tabs.index(tab) - 1].evaluate(HIDES, arg=True)
        tab.goto(f"{site.url}/agents")
        expect(tab.locator("#link")).to_have_text("Live.")
    site.add("[HID-1] Added while nobody looked", assignee="Nobody")
    board.evaluate(HIDES, arg=False)
    expect(board.get_by_role("link", name="Added while nobody looked")).to_be_visible()


def in_its_loop(work: Coroutine[Any, Any, None]) -> None:
    """Do *work* to its end, in a thread: this one's loop is the browser's."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def test_a_run_a_nudge_and_a_switch_are_followed(eyes: Eyes, site: Site) -> None:
    """The pages of runs, nudges and agents change without a reload, whoever changed what."""
    pages = {at: eyes.look(at) for at in ("/runs", "/nudges?show=all", "/agents")}
    for page in pages.values():
        expect(page.locator("#link")).to_have_text("Live.")
        page.evaluate("window.same = true")
    with open_ledger(site.store) as ledger, open_workspace(ledger) as workspace:
        journal = TablesJournal(workspace.tables)
        in_its_loop(journal.start(record("0123")))
        row = pages["/runs"].get_by_role("row", name="0123")
        expect(row).to_contain_text("running")
        in_its_loop(journal.finish(statement_of("0123")))
        expect(row).to_contain_text("ok")
        workspace.nudges.raise_("paused", id="seen", title="Look here", data={}, channels=["chat"])
        nudge = pages["/nudges?show=all"].get_by_role("row", name="Look here")
        expect(nudge).to_contain_text("waiting")
        workspace.nudges.ack("seen", "VS Lu")
        expect(nudge).to_contain_text("by VS Lu")
        workspace.quilt.put("note", "cloud_lu_autonomous", {"enabled": False}, author="VS Lu")
        expect(pages["/agents"].get_by_text("thrown: nothing is dispatched")).to_be_visible()
        workspace.quilt.put("note", "cloud_lu_autonomous", {"enabled": True}, author="VS Lu")
        expect(pages["/agents"].get_by_text("not thrown")).to_be_visible()
    assert all(page.evaluate("window.same") for page in pages.values())


def test_a_session_that_ended_is_told(eyes: Eyes, site: Site) -> None:
    """A page left open says so once, with the way back, and asks for nothing more."""
    open_to_all = site.url
    closed = site.serve("0", "--no-open-reads")
    page = eyes.look("/login", storage_state=None)
    site.url = open_to_all
    page.get_by_label("Token").fill(site.token)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#link")).to_have_text("Live.")
    page.context.clear_cookies()
    site.add("[END-1] Nobody is told", assignee="Nobody")
    expect(page.locator("#link")).to_contain_text("your session has ended, log in again.")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.get_by_role("link", name="log in again").click()
    expect(page.get_by_label("Token")).to_be_focused()
    assert "/login?next=%2F" in asked[0]
    closed.stop()


def test_a_page_catches_up_after_a_break(browser: "Browser", site: Site) -> None:
    """A page whose service died says so, and shows what it missed once it is back."""
    eyes = Eyes(browser, site)
    page = eyes.look("/")
    page.evaluate("window.same = true")
    expect(page.locator("#link")).to_have_text("Live.")
    assert site.service is not None
    site.service.kill()
    expect(page.locator("#link")).to_have_text("Not live now: the service does not answer.")
    site.service = site.serve(str(urlsplit(site.url).port))
    site.add("[GAP-1] Added meanwhile", assignee="Nobody")
    expect(page.get_by_role("link", name="Added meanwhile")).to_be_visible()
    expect(page.locator("#link")).to_have_text("Live.")
    assert page.evaluate("window.same")
    page.context.close()
    assert [fault for fault in eyes.faults if "net::ERR_" not in fault] == []
