"""The pages of all examples, and the welcome page, on a phone and a desk, light and dark, by keyboard alone.

It must not know the pages' code: it presses keys, looks, and lets axe-core look.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from outside_tools import missing_tool

pytestmark = pytest.mark.needs_browser

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE_MS = 60_000
SIZES = {390: 844, 1280: 800}
SCHEMES: dict[Any, list[str] | None] = {"light": None, "dark": ["color-contrast"]}  # axe's rules; None: all
TABS_MAX_COUNT = 40
# Readings come soon; a round lasts until it was looked at.
PACE = {"TICKER_PERIOD_SECONDS": "0.2", "DUEL_ROUND_SECONDS": "600", "DUEL_REVEAL_SECONDS": "600"}
# Whose page was closed may be missed later: nobody takes the name of somebody before.
PEOPLE = {390: ("Ada", "Grace", "Edsger", "Frances"), 1280: ("Alan", "Barbara", "Donald", "Leslie")}

SERIOUS_FINDINGS = """
async (rules) => (await axe.run(document, rules ? { runOnly: rules } : {})).violations
  .filter(({ impact }) => impact === "serious" || impact === "critical")
  .map(({ id, nodes }) => [id, ...nodes.map(({ html, failureSummary }) => html + failureSummary)])
"""
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
# The focus is seen as a line around what has it, or around what stands for it.
IS_FOCUS_SEEN = """
() => [document.activeElement, document.activeElement.parentElement].some((element) => {
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
})
"""


class Visitor:
    """A person at one page, who has a keyboard and no mouse."""

    def __init__(self, page: Page, name: str, artifacts: Path) -> None:
        self.page = page
        self.width = page.viewport_size["width"]  # type: ignore[index]
        self.faults: list[str] = []
        self._name = name
        self._artifacts = artifacts
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda said: self.faults.extend([said.text] if said.type == "error" else []))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        """Into the field that has the focus, or gets it: a new page gives it with its first picture."""
        self.page.wait_for_function("() => document.activeElement.matches('input, textarea')")
        self.page.keyboard.type(text)

    def tab_to(self, role: Any, name: str) -> Locator:
        """Tab after Tab until it has the focus; on the way too the focus is seen."""
        goal = self.page.get_by_role(role, name=name, exact=True)
        for _ in range(TABS_MAX_COUNT):
            self.press("Tab")
            if self.page.evaluate("() => document.activeElement !== document.body"):
                assert self.page.evaluate(IS_FOCUS_SEEN), self.page.evaluate(
                    "document.activeElement.outerHTML"
                )
            if goal.evaluate("(element) => element === document.activeElement"):
                return goal
        pytest.fail(f"the {role} {name!r} is not reached by Tab")

    def stop_the_clock(self) -> None:
        """Timers of the page wait until its clock is put forward."""
        noon = datetime(2026, 6, 1, 12)
        self.page.clock.install(time=noon)
        self.page.clock.pause_at(noon + timedelta(seconds=1))

    def look(self, what: str) -> None:
        """The page in both schemes: a picture, nothing beside the screen, nothing that axe finds."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE.read_text("utf-8"))
        for scheme, rules in SCHEMES.items():
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            picture = self._artifacts / f"{self._name}-{what}-{self.width}-{scheme}.png"
            self.page.screenshot(path=picture, full_page=True, animations="disabled")
            assert self.page.evaluate(WIDER) == 0, f"{what} scrolls sideways at {self.width} px"
            assert self.page.evaluate(SERIOUS_FINDINGS, rules) == [], (what, self.width, scheme)


Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def site(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """site("chat"): the address of an example, of "welcome" too; one server for each."""
    urls: dict[str, str] = {}

    def one(name: str) -> str:
        if name not in urls:
            nothing = name == "welcome"
            folder = tmp_path_factory.mktemp(name) if nothing else EXAMPLES / name
            urls[name] = str(serve(folder, *([] if nothing else ["app:app"]), env=PACE).url)
        return urls[name]

    return one


@pytest.fixture(params=SIZES, ids=lambda width: f"{width}px")
def visit(
    request: pytest.FixtureRequest,
    new_context: Callable[..., BrowserContext],
    site: Callable[[str], str],
    page_client: None,
    artifacts: Path,
) -> Iterator[Visit]:
    """visit("chat"): a new visitor of that example, at this width."""
    if not AXE.is_file():
        missing_tool("the npm packages are missing; run: npm ci --prefix tests/e2e")
    expect.set_options(timeout=PATIENCE_MS)
    visitors: list[Visitor] = []
    folder = artifacts / "pages"
    folder.mkdir(exist_ok=True)

    def one(name: str) -> Visitor:
        width = request.param
        context = new_context(viewport={"width": width, "height": SIZES[width]}, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE_MS)
        visitor = Visitor(context.new_page(), name, folder)
        visitors.append(visitor)
        visitor.page.goto(site(name))
        return visitor

    yield one
    for visitor in visitors:
        visitor.page.context.close()
    assert [fault for visitor in visitors for fault in visitor.faults] == []


def come_in(guest: Visitor, name: str) -> None:
    guest.type(name)  # the field has the focus
    guest.press("Enter")
    expect(guest.page.get_by_role("textbox", name="To everybody in the Kitchen")).to_be_focused()


def test_chat(visit: Visit) -> None:
    ada, grace = visit("chat"), visit("chat")
    adas_name, graces_name, *_ = PEOPLE[ada.width]
    ada.look("door")
    ada.stop_the_clock()
    come_in(ada, adas_name)
    come_in(grace, graces_name)
    question = f"Is the kettle on at {grace.width} px?"  # the room remembers the other widths' words
    grace.type(question)
    typing = ada.page.get_by_text(f"{graces_name} is typing\u2026")
    expect(typing).to_be_visible()
    grace.press("Enter")
    log = ada.page.get_by_role("log")
    expect(log.get_by_text(question)).to_be_visible()
    expect(typing).to_be_hidden()
    ada.type("It is, and there is cake.")
    ada.press("Enter")
    grace.tab_to("button", adas_name)
    grace.press("Enter")
    expect(grace.page.get_by_role("textbox", name=f"Only to {adas_name}")).to_be_focused()
    grace.type("Keep a piece for me.")
    grace.press("Enter")
    expect(log.get_by_text("Keep a piece for me.")).to_be_visible()  # of whispers nothing is kept
    grace.tab_to("button", "Back to everybody")
    grace.press("Enter")
    grace.type("On my way")
    expect(typing).to_be_visible()
    ada.page.clock.resume()  # axe waits by timers
    ada.look("room")
    grace.tab_to("button", "Garden")
    grace.press("Enter")
    expect(grace.page.get_by_text("Nobody has said anything here lately.")).to_be_visible()
    expect(log.get_by_text(f"{graces_name} went out.")).to_be_visible()


def test_chat_shows_who_comes_in_what_was_said(visit: Visit) -> None:
    ada = visit("chat")
    *_, adas_name, graces_name = PEOPLE[ada.width]
    come_in(ada, adas_name)
    ada.tab_to("button", "Workshop")
    ada.press("Enter")
    expect(ada.page.get_by_role("textbox", name="To everybody in the Workshop")).to_be_focused()
    said = f"Said at {ada.width} px before the other came."
    ada.type(said)
    ada.press("Enter")
    expect(ada.page.get_by_role("log").get_by_text(said)).to_be_visible()
    grace = visit("chat")
    grace.stop_the_clock()
    come_in(grace, graces_name)
    grace.tab_to("button", "Workshop")
    grace.press("Enter")
    expect(grace.page.get_by_role("log").get_by_text(said)).to_be_visible()
    expect(grace.page.get_by_role("button", name=adas_name)).to_be_visible()
    ada.type("And another thing")  # nothing follows, so the notice ends by itself
    typing = grace.page.get_by_text(f"{adas_name} is typing\u2026")
    expect(typing).to_be_visible()
    grace.page.clock.fast_forward("05")
    expect(typing).to_be_hidden()


def test_team_chat(visit: Visit) -> None:
    ada, grace = visit("team_chat"), visit("team_chat")
    for guest, name in ((ada, "Ada"), (grace, "Grace")):
        guest.type(name)
        guest.press("Enter")
        expect(guest.page.get_by_role("textbox", name="To everybody here")).to_be_focused()
    words = f"Who wants some tea at {ada.width} px?"
    ada.type(words)
    ada.press("Enter")
    expect(grace.page.get_by_role("log").get_by_text(words)).to_be_visible()
    expect(ada.page.get_by_role("textbox", name="To everybody here")).to_have_value("")
    ada.press("Enter")  # without a word
    expect(ada.page.get_by_role("alert")).to_have_text("$[0].text: Expected `str` of length >= 1")
    expect(ada.page.locator("#people")).to_have_text("Ada, Grace")
    with ada.page.expect_popup() as opened:
        ada.page.get_by_role("link", name="only listen").click()
    heard = f"The kettle is on at {ada.width} px"
    with opened.value.expect_response("**/listen/**"):
        opened.value.reload()
    grace.type(heard)
    grace.press("Enter")
    expect(opened.value.get_by_role("log").get_by_text(heard)).to_be_visible()
    opened.value.close()
    ada.look("room")
    grace.tab_to("button", "Garden")
    grace.press("Enter")
    expect(grace.page.get_by_role("log").get_by_text(words)).to_be_hidden()
    expect(ada.page.locator("#people")).to_have_text("Ada")
    grace.tab_to("button", "Kitchen")
    grace.press("Enter")
    expect(grace.page.get_by_role("log").get_by_text(words)).to_be_visible()


def test_ticker(visit: Visit) -> None:
    reader = visit("ticker")
    page = reader.page
    chart = page.get_by_role("img", name="Harbour")
    expect(chart).to_be_visible()
    expect(page.locator("#count")).not_to_have_text("0")
    reader.tab_to("radio", "Harbour")
    reader.press("ArrowRight")
    expect(page.get_by_role("radio", name="Hilltop")).to_be_checked()
    expect(page.get_by_role("img", name="Hilltop")).to_be_visible()
    reader.tab_to("button", "Pause")
    reader.press("Enter")
    summary = page.locator("#summary").inner_text()
    assert "between" in summary
    count = int(page.locator("#count").inner_text())
    expect(page.locator("#count")).not_to_have_text(str(count))  # they go on arriving
    assert page.locator("#summary").inner_text() == summary
    expect(page.locator("#chart .scale").first).to_have_text("\u00b0C")
    assert page.locator("#chart .scale").count() >= 4
    assert page.locator("#chart .time").count() >= 2
    heights = "all => all.map((text) => text.getBoundingClientRect().height)"
    assert min(page.locator("#chart text").evaluate_all(heights)) >= 12
    reader.press("Tab", "Enter")
    expect(page.get_by_role("row")).not_to_have_count(1)
    reader.look("chart")


def test_namespaces(visit: Visit) -> None:
    worker = visit("namespaces")
    page = worker.page
    expect(page.get_by_text("Connected")).to_be_visible()
    jobs = [f"{job} at {worker.width} px" for job in ("Sharpen the chisels", "Sweep the floor")]
    for job in jobs:
        worker.type(job)
        worker.press("Enter")
        expect(page.get_by_role("textbox", name="A new job")).to_have_value("")
        expect(page.get_by_role("listitem").filter(has_text=job)).to_be_visible()
    worker.tab_to("button", f"{jobs[0]}: done")
    worker.press("Enter")
    expect(page.get_by_role("button", name=f"{jobs[1]}: done")).to_be_focused()
    worker.tab_to("button", "Ring it")
    worker.press("Space")
    expect(page.get_by_text("You rang it")).to_be_visible()
    worker.look("shop")


def test_welcome(visit: Visit) -> None:
    guest = visit("welcome")
    expect(guest.page.get_by_role("button", name="Send")).to_be_enabled()
    guest.type("over the wire")  # in place of what stands there
    guest.press("Enter")
    expect(guest.page.get_by_role("listitem").filter(has_text="over the wire")).to_be_visible()
    guest.look("page")


def test_math_duels(visit: Visit) -> None:
    player = visit("math_duels")
    player.look("home")
    player.type("Ada")  # the field has the focus
    player.tab_to("button", "Practise alone")
    player.press("Enter")
    expect(player.page.get_by_role("button", name="Start practising")).to_be_focused()
    player.look("lobby")
    player.press("Enter")
    expect(player.page.locator("#answer")).to_be_focused()
    player.look("round")
    player.type("0")
    player.press("Enter")
    expect(player.page.locator("#verdict")).not_to_be_empty()
