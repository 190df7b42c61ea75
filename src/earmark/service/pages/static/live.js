// Keeps a page up to date: listens to what happens, fetches the parts that depend on it, and swaps
// them without moving the focus, the scroll position or what is being typed. Without this script a
// page is the same, only as of when it was loaded.

const QUIET_MS = 150; // changes that come together are fetched together
const REST = 4; // a page rests so many times as long as its last fetch took: crowds slow down
const AGES_MS = 20_000;
const AGAIN_MS = 2_000;
const SELDOM_MS = 60_000;
const KINDS = ["task", "ledger", "run", "nudge", "outbox", "agent"];

const announcer = document.getElementById("announce");
const link = document.getElementById("link");
const regions = () => [...document.querySelectorAll("[data-live]")];

document.getElementById("problem")?.focus();

// What changed ------------------------------------------------------------------------------------

let pending = new Set();
let timer = 0;
let fetching = false;
let rest = QUIET_MS;
let over = false; // the session has ended: only a person can go on

function changed(kind) {
  pending.add(kind);
  soon(rest);
}

function soon(wait) {
  if (!timer && !fetching && !over && !document.hidden) timer = setTimeout(refresh, wait);
}

async function refresh() {
  timer = 0;
  if (document.hidden) return;
  const kinds = pending;
  pending = new Set();
  if (!regions().some((region) => depends(region, kinds))) return;
  fetching = true;
  const begun = performance.now();
  try {
    swap(await fragment(), kinds);
    rest = Math.max(QUIET_MS, REST * (performance.now() - begun));
  } catch {
    for (const kind of kinds) pending.add(kind);
    rest = Math.min(Math.max(AGAIN_MS, 2 * rest), SELDOM_MS);
  }
  fetching = false;
  if (pending.size) soon(rest);
}

function depends(region, kinds) {
  return region.dataset.live.split(" ").some((kind) => kinds.has(kind));
}

async function fragment() {
  // After a form that was refused, the address is the form's and not the page's.
  const own = document.body.dataset.address;
  const address = new URL(own === decodeURI(location.pathname) ? location.href : own, location.href);
  address.searchParams.set("fragment", "live");
  const answer = await fetch(address, { headers: { accept: "text/html" }, redirect: "manual" });
  if (answer.type === "opaqueredirect") ended();
  if (!answer.ok) throw new Error(String(answer.status));
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

function ended() {
  over = true;
  silence();
  const way = document.createElement("a");
  way.href = `/login?next=${encodeURIComponent(document.body.dataset.address)}`;
  way.textContent = "log in again";
  link.replaceChildren("Not live now: your session has ended, ", way, ".");
  announcer.textContent = link.textContent;
}

// Swapping ----------------------------------------------------------------------------------------

function swap(fresh, kinds) {
  const summaries = [];
  for (const region of regions()) {
    const next = fresh.getElementById(region.id);
    if (!next || !depends(region, kinds) || region.innerHTML === next.innerHTML) continue;
    if (isTypedIn(region)) continue;
    const kept = keep(region);
    region.replaceChildren(...next.childNodes);
    restore(region, kept);
    mark(region, kept.states);
    if (next.dataset.summary && next.dataset.summary !== region.dataset.summary) summaries.push(next.dataset.summary);
    if (next.dataset.summary) region.dataset.summary = next.dataset.summary;
  }
  if (summaries.length) announcer.textContent = summaries.join(". ");
}

// A form in which somebody has begun to type stays as it is.
function isTypedIn(region) {
  const typed = [...region.querySelectorAll("input:not([type=hidden]), textarea")];
  return typed.some((field) => field.value !== field.defaultValue);
}

function keep(region) {
  const focused = region.contains(document.activeElement) ? document.activeElement : null;
  const open = [...region.querySelectorAll("details[id]")].map((each) => [each.id, each.open]);
  const scrolled = [...region.querySelectorAll("[id]")]
    .filter((each) => each.scrollTop || each.scrollLeft)
    .map((each) => [each.id, each.scrollTop, each.scrollLeft]);
  const states = new Map([...region.querySelectorAll("[data-state]")].map((each) => [each.id, each.dataset.state]));
  return { focus: focused?.id, open, scrolled, states };
}

function restore(region, kept) {
  for (const [id, open] of kept.open) {
    const details = document.getElementById(id);
    if (details) details.open = open;
  }
  for (const [id, top, left] of kept.scrolled) document.getElementById(id)?.scrollTo(left, top);
  if (kept.focus) document.getElementById(kept.focus)?.focus({ preventScroll: true });
}

// Rows that are new, or in another state than before, are marked for a moment.
function mark(region, states) {
  if (!states.size) return;
  for (const row of region.querySelectorAll("[data-state]")) {
    if (states.get(row.id) !== row.dataset.state) row.classList.add("changed");
  }
}

// Listening ---------------------------------------------------------------------------------------

// A browser keeps only a few connections to one host: a page that nobody sees gives up its own.

let events = null;
let later = 0;
let again = AGAIN_MS;

function listen() {
  if (events || over || document.hidden) return;
  events = new EventSource("/v1/events");
  events.addEventListener("open", opened);
  events.addEventListener("error", broken);
  for (const kind of [...KINDS, "reset"]) events.addEventListener(kind, () => changed(kind));
}

function opened() {
  link.textContent = "Live.";
  again = AGAIN_MS;
  rest = QUIET_MS;
  clearTimeout(timer);
  timer = 0;
  // What happened since the page was written, or since the stream broke, nobody told it.
  for (const kind of KINDS) changed(kind);
}

function broken() {
  if (over) return;
  link.textContent = "Not live now: the service does not answer.";
  // Where nobody answers, the browser tries again; after a refusal it would not.
  if (events.readyState === EventSource.CLOSED) {
    silence();
    later = setTimeout(listen, again);
    changed("reset"); // what refuses events may be the end of the session, which the page is told
  }
  again = Math.min(again * 2, SELDOM_MS);
}

function silence() {
  clearTimeout(later);
  events?.close();
  events = null;
}

// Ages --------------------------------------------------------------------------------------------

const STEPS = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];

function age(then) {
  const seconds = Math.trunc(Math.abs(Date.now() - then) / 1000);
  if (seconds < 1) return "just now";
  const [length, unit] = STEPS.find(([least]) => seconds >= least);
  const text = `${Math.trunc(seconds / length)} ${unit}`;
  return then <= Date.now() ? `${text} ago` : `in ${text}`;
}

function refreshAges() {
  for (const each of document.querySelectorAll("time[datetime]")) {
    const text = age(Date.parse(each.dateTime));
    if (each.textContent !== text) each.textContent = text;
  }
}

if (regions().length) {
  listen();
  setInterval(refreshAges, AGES_MS);
  addEventListener("pagehide", silence);
  addEventListener("pageshow", listen);
  document.addEventListener("visibilitychange", () => (document.hidden ? silence() : listen()));
}
