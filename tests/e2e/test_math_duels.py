"""Headless Chromium pages playing Math Duels against the real server process, with screenshots.

It must not know the rules' code: it reads the sums off the page and does them itself.
"""

import operator
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, ViewportSize, WebSocketRoute, expect

pytestmark = pytest.mark.needs_browser

APPS = Path(__file__).parent / "apps"
DUELS = Path(__file__).resolve().parents[2] / "examples" / "math_duels"
PATIENCE_MS = 60_000
DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
ROUNDS = 3
ROUND_SECONDS = 20.0
REVEAL_SECONDS = 4.0
# What is shown at a round's end must be seen, by a busy browser too: time stands until it is told to go on.
TOLD = {"DUEL_ROUNDS": str(ROUNDS), "DUEL_ROUND_SECONDS": str(ROUND_SECONDS), "PYTHONPATH": str(APPS)}
# By the real clock: what is looked for stays after a round's end.
PATIENT = {"DUEL_ROUNDS": str(ROUNDS), "DUEL_ROUND_SECONDS": "600", "DUEL_REVEAL_SECONDS": "0.3"}

OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "\N{MINUS SIGN}": operator.sub,
    "\N{MULTIPLICATION SIGN}": operator.mul,
    "\N{DIVISION SIGN}": operator.floordiv,
}

# What is over soon is counted.
COUNT_SHOWERS = """() => {
    window.showers = 0;
    new MutationObserver((records) => {
        const added = records.flatMap((record) => [...record.addedNodes]);
        window.showers += added.filter((node) => node.className === "shower").length;
    }).observe(document.body, { childList: true });
}"""
PLACES = """() => [...document.querySelectorAll(".brand, #heading, .stage, .roster")].map(
    (node) => JSON.stringify(node.getBoundingClientRect()))"""

expect.set_options(timeout=PATIENCE_MS)


def work_out(sum_text: str) -> int:
    """The value of a sum as the page shows it: operators of equal rank, or a bracket in front."""
    inner = re.fullmatch(r"\((.+)\)(.+)", sum_text)
    words = [str(work_out(inner[1])), *inner[2].split()] if inner else sum_text.split()
    value = int(words[0])
    for sign, number in zip(words[1::2], words[2::2], strict=True):
        value = OPERATORS[sign](value, int(number))
    return value


class Tab:
    """One page, and what a player does and sees on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def enter(self, name: str) -> None:
        self.page.locator("#name").fill(name)
        self.page.keyboard.press("Enter")

    def ready(self) -> None:
        expect(self.page.locator("#wire")).to_have_text("Connected")
        expect(self.page.locator("#leave")).to_be_visible()

    def row(self, name: str) -> Any:
        return self.page.locator(
            "#players li", has=self.page.locator(".name", has_text=re.compile(f"^{name}$"))
        )

    def expect_score(self, name: str, score: int | re.Pattern[str]) -> None:
        wanted = score if isinstance(score, re.Pattern) else str(score)
        expect(self.row(name).locator(".score")).to_have_text(wanted)

    def score(self, name: str) -> int:
        return int(self.row(name).locator(".score").inner_text())

    def await_round(self, number: int) -> str:
        expect(self.page.locator("#heading")).to_have_text(f"Round {number} of {ROUNDS}")
        expect(self.page.locator("#answer")).to_be_focused()
        return self.page.locator("#problem").inner_text()

    def answer(self, number: int) -> None:
        """With the keyboard alone: the answer field has the focus at a new problem, Enter submits."""
        self.page.keyboard.type(str(number))
        self.page.keyboard.press("Enter")


Open = Callable[..., Tab]


@pytest.fixture
def open_tab(new_context: Callable[..., BrowserContext], page_client: None) -> Iterator[Open]:
    """open_tab(url, viewport, scheme): a tab of a browser that has never been here, with its own cookies."""
    tabs: list[Tab] = []

    def one(url: str, viewport: ViewportSize = DESK, scheme: Any = "light", **options: Any) -> Tab:
        context = new_context(viewport=viewport, color_scheme=scheme, **options)
        context.set_default_timeout(PATIENCE_MS)
        tab = Tab(context.new_page())
        tabs.append(tab)
        tab.page.goto(url)
        return tab

    yield one
    for tab in tabs:
        tab.page.context.close()
    assert [fault for tab in tabs for fault in tab.faults] == []


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any]) -> str:
    return str(serve(DUELS, "told_duels:app", env=TOLD).url)


def go_on(url: str, seconds: float) -> None:
    with urllib.request.urlopen(f"{url}/clock?seconds={seconds}", b"", PATIENCE_MS / 1000):
        pass


def seat_two(open_tab: Open, url: str, **second: Any) -> tuple[Tab, Tab]:
    """Ada opens a lobby, Grace follows the shared link."""
    ada = open_tab(url)
    ada.enter("Ada")
    ada.ready()
    grace = open_tab(ada.page.locator("#link").input_value(), **second)
    grace.enter("Grace")
    grace.ready()
    expect(ada.row("Grace")).to_be_visible()
    return ada, grace


def expect_focus(page: Page, element: str) -> None:
    """It is there, and somebody who looks sees that it is there."""
    expect(page.locator(element)).to_be_focused()
    marked = "style => style.outlineStyle !== 'none' || style.boxShadow !== 'none'"
    assert page.evaluate(f"({marked})(getComputedStyle(document.activeElement))"), element


def tab_to(page: Page, element: str) -> None:
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.locator(element).evaluate("node => node === document.activeElement"):
            return expect_focus(page, element)
    raise AssertionError(f"no way by keyboard to {element}")


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_a_duel_by_keyboard_from_the_first_page_to_the_rematch(
    open_tab: Open, url: str, viewport: ViewportSize
) -> None:
    ada, grace = open_tab(url, viewport), open_tab(url, viewport, "dark")
    for tab, name in ((ada, "Ada"), (grace, "Grace")):
        expect_focus(tab.page, "#name")
        tab.page.keyboard.type(name)
    ada.page.keyboard.press("Enter")
    expect_focus(ada.page, "#copy")
    tab_to(grace.page, "#code")
    grace.page.keyboard.type(ada.page.url.rpartition("/")[2])
    grace.page.keyboard.press("Enter")
    expect_focus(grace.page, "#start")
    expect(ada.page.locator("#log")).to_contain_text("Grace is here.")
    expect(ada.page.locator("#start")).to_have_attribute("aria-disabled", "false")
    tab_to(ada.page, "#start")
    ada.page.keyboard.press("Enter")
    rows = []
    for number in range(1, ROUNDS + 1):
        for tab in (ada, grace):
            problem = tab.await_round(number)
            expect_focus(tab.page, "#answer")
        right = work_out(problem)
        go_on(url, 2.0)
        ada.answer(right)
        expect(grace.page.locator("#log p", has_text="Ada: right")).to_have_count(number)
        go_on(url, 1.5)
        grace.answer(right + (number == 2))
        expect(ada.page.locator("#game")).to_have_attribute("data-phase", "reveal")
        rows.append([f"{problem} = {right}", "✓ 2.0 s, first", f"{'✗' if number == 2 else '✓'} 3.5 s"])
        go_on(url, REVEAL_SECONDS)
    for tab, title in ((ada, "You win"), (grace, "Ada wins")):
        expect_focus(tab.page, "#again")
        expect(tab.page.locator("#winner")).to_have_text(title)
        expect(tab.page.locator("#over-text")).to_have_text("by 15 points, 45 to 30")
        expect(tab.page.locator("#log")).to_contain_text(f"{title}, by 15 points, 45 to 30")
    expect(ada.page.locator("#over-mine")).to_have_text("You had 3 of 3 right, and were first on 3.")
    expect(grace.page.locator("#over-mine")).to_have_text("You had 2 of 3 right.")
    expect(ada.page.locator("#ledger")).to_be_visible()
    read = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    assert ada.page.locator("#sums tr").evaluate_all(read) == [["Sum", "You", "Grace"], *rows]
    grace.page.keyboard.press("Enter")
    for tab in (ada, grace):
        tab.await_round(1)
        tab.expect_score("Ada", 0)
    tab_to(grace.page, "#leave")
    grace.page.keyboard.press("Enter")
    expect_focus(grace.page, "#rejoin")


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_the_winner_is_celebrated_in_motion_only_where_that_is_wanted(
    open_tab: Open, url: str, motion: str
) -> None:
    ada, grace = seat_two(open_tab, url, reduced_motion=motion)
    grace.page.evaluate(COUNT_SHOWERS)
    ada.page.locator("#start").click()
    for number in range(1, ROUNDS + 1):
        right = work_out(grace.await_round(number))
        ada.await_round(number)
        ada.answer(right + 1)
        grace.answer(right)
        expect(grace.page.locator("#game")).to_have_attribute("data-phase", "reveal")
        go_on(url, REVEAL_SECONDS)
    expect(grace.page.locator("#winner")).to_have_text("You win")
    expect(grace.page.locator(".shower")).to_have_count(0)
    assert grace.page.evaluate("window.showers") == (motion == "no-preference")
    moving = "() => document.getAnimations().filter((one) => one.playState === 'running').length"
    grace.page.wait_for_function(f"({moving})() === 0")


def test_a_rematch_takes_two(open_tab: Open, url: str) -> None:
    ada, grace = seat_two(open_tab, url)
    ada.page.locator("#start").click()
    for number in range(1, ROUNDS + 1):
        for tab in (ada, grace):
            tab.await_round(number)
            tab.answer(0)
        expect(ada.page.locator("#game")).to_have_attribute("data-phase", "reveal")
        go_on(url, REVEAL_SECONDS)
    expect(ada.page.locator("#winner")).to_have_text("Nobody scored")
    grace.page.locator("#leave").click()
    expect(ada.page.locator("#again")).to_have_attribute("aria-disabled", "true")
    expect(ada.page.locator("#again")).to_have_accessible_description(
        "Nobody else is here. A rematch takes two."
    )


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize(
    ("field", "name", "code", "message"),
    [("code", "Ada", "O0O0", "four letters or digits"), ("name", "\u200b", "", "type a name")],
)
def test_what_is_wrong_stands_beside_its_field(
    open_tab: Open, url: str, viewport: ViewportSize, field: str, name: str, code: str, message: str
) -> None:
    page = open_tab(url, viewport).page
    page.locator("#name").fill(name)
    page.locator("#code").fill(code)
    page.keyboard.press("Enter")
    wrong = page.locator(f"#{field}[aria-invalid=true]")
    expect(wrong).to_have_accessible_description(re.compile(message))
    expect_focus(page, f"#{field}")
    said, place = page.locator(".fault").bounding_box(), wrong.bounding_box()
    assert said is not None
    assert place is not None
    assert 0 <= said["y"] - (place["y"] + place["height"]) < 16
    assert said["x"] == place["x"]
    assert page.locator("[aria-invalid=true]").count() == 1


def test_two_players_play_one_duel(open_tab: Open, url: str, artifacts: Path) -> None:
    ada, grace = seat_two(open_tab, url, viewport=PHONE, scheme="dark")
    for tab, where in ((ada, "desk-light"), (grace, "phone-dark")):
        tab.page.screenshot(path=artifacts / f"duel-lobby-{where}.png")
    ada.page.locator("#start").click()
    for number in range(1, ROUNDS + 1):
        problem = ada.await_round(number)
        assert grace.await_round(number) == problem
        right = work_out(problem)
        before = (ada.score("Ada"), ada.score("Grace"))
        wrong_round = number == 2
        ada.answer(right + 1 if wrong_round else right)
        expect(ada.page.locator("#verdict")).to_have_text(
            re.compile("^Not quite" if wrong_round else "^Right")
        )
        expect(grace.page.locator("#log")).to_contain_text("Ada: wrong." if wrong_round else "Ada: right")
        assert grace.page.locator("#game").get_attribute("data-phase") == "problem"
        for tab, where in ((ada, "desk-light"), (grace, "phone-dark")):
            tab.page.screenshot(path=artifacts / f"duel-round-{number}-{where}.png")
        go_on(url, 4.0)
        grace.answer(right)
        expect(grace.page.locator("#verdict")).to_have_text(re.compile("^Right"))
        if wrong_round:
            expect(ada.page.locator("#correction")).to_have_text(str(right))
            ada.page.screenshot(path=artifacts / "duel-wrong-desk-light.png")
        expect(ada.page.locator("#game")).to_have_attribute("data-phase", "reveal")
        gained = (ada.score("Ada") - before[0], ada.score("Grace") - before[1])
        assert gained == (0 if wrong_round else 15, 14)
        go_on(url, REVEAL_SECONDS)
    expect(grace.page.locator("#winner")).to_have_text("You win")
    expect(ada.page.locator("#winner")).to_have_text("Grace wins")
    expect(ada.page.locator("#again")).to_be_focused()
    assert (ada.score("Ada"), ada.score("Grace")) == (grace.score("Ada"), grace.score("Grace"))
    for tab, where in ((ada, "desk-light"), (grace, "phone-dark")):
        tab.page.screenshot(path=artifacts / f"duel-over-{where}.png")
    ada.page.keyboard.press("Enter")
    for tab in (ada, grace):
        tab.await_round(1)
        tab.expect_score("Grace", 0)


@pytest.mark.parametrize("transports", ["polling", "websocket"])
def test_the_page_plays_on_one_transport_alone(open_tab: Open, url: str, transports: str) -> None:
    tab = open_tab(url)
    tab.page.locator("#name").fill("Ada")
    tab.page.locator("button[value=practice]").click()
    tab.ready()
    tab.page.goto(f"{tab.page.url}?transports={transports}")
    tab.ready()
    tab.page.locator("#start").click()
    tab.answer(work_out(tab.await_round(1)))
    expect(tab.page.locator("#verdict")).to_have_text(re.compile("^Right"))


def test_one_tab_practises_alone(open_tab: Open, url: str, artifacts: Path) -> None:
    tab = open_tab(url, DESK, "dark")
    tab.page.screenshot(path=artifacts / "home-desk-dark.png")
    tab.page.locator("#name").fill("Solo")
    tab.page.locator("button[value=practice]").click()
    tab.ready()
    expect(tab.page.locator("#start")).to_be_focused()
    tab.page.screenshot(path=artifacts / "practice-desk-dark.png")
    tab.page.keyboard.press("Enter")
    for number in range(1, ROUNDS + 1):
        tab.answer(work_out(tab.await_round(number)))
        expect(tab.page.locator("#mine")).to_have_attribute("data-mark", "right")
        tab.page.screenshot(path=artifacts / f"practice-round-{number}-desk-dark.png")
        go_on(url, REVEAL_SECONDS)
    expect(tab.page.locator("#winner")).to_have_text(f"{ROUNDS} of {ROUNDS} right")
    tab.page.screenshot(path=artifacts / "practice-over-desk-dark.png")


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_the_longest_sum_fits_into_the_window(open_tab: Open, url: str, viewport: ViewportSize) -> None:
    tab = open_tab(url, viewport)
    tab.page.locator("#name").fill("Solo")
    tab.page.locator("button[value=practice]").click()
    tab.ready()
    tab.page.locator("#start").click()
    tab.await_round(1)
    widths = tab.page.evaluate(
        """() => {
            document.getElementById("problem").textContent = "(12 + 9) \u00d7 7";
            const sum = document.querySelector(".problem"), sheet = document.querySelector(".sheet");
            return [sum.getBoundingClientRect().width, sum.scrollWidth, sheet.clientWidth];
        }"""
    )
    assert max(widths[:2]) <= widths[2]


def test_something_that_is_no_number_may_be_corrected(open_tab: Open, url: str) -> None:
    tab = open_tab(url)
    tab.page.locator("#name").fill("Solo")
    tab.page.locator("button[value=practice]").click()
    tab.ready()
    tab.page.locator("#start").click()
    right = work_out(tab.await_round(1))
    tab.page.keyboard.type("twelve")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#verdict")).to_have_text("Please type a whole number.")
    tab.answer(right)  # the refused text is selected, so typing replaces it
    expect(tab.page.locator("#verdict")).to_have_text(re.compile("^Right"))


def test_a_round_ends_at_its_time_limit(open_tab: Open, url: str) -> None:
    tab = open_tab(url)
    tab.page.locator("#name").fill("Slow")
    tab.page.locator("button[value=practice]").click()
    tab.ready()
    tab.page.locator("#start").click()
    for number in range(1, ROUNDS + 1):
        problem = tab.await_round(number)
        go_on(url, ROUND_SECONDS)
        expect(tab.page.locator("#verdict")).to_have_text(f"Time is up. It is {work_out(problem)}.")
        go_on(url, REVEAL_SECONDS)
    expect(tab.page.locator("#winner")).to_have_text(f"0 of {ROUNDS} right")


def test_leaving_and_rejoining_keeps_the_score(open_tab: Open, url: str) -> None:
    ada, grace = seat_two(open_tab, url)
    ada.page.locator("#start").click()
    problem = grace.await_round(1)
    ada.await_round(1)
    grace.answer(work_out(problem))
    ada.expect_score("Grace", re.compile("^1[1-5]$"))
    score = ada.score("Grace")
    grace.page.locator("#leave").click()
    expect(ada.row("Grace")).to_have_attribute("data-presence", "left")
    expect(grace.page.locator("#rejoin")).to_be_focused()
    grace.page.keyboard.press("Enter")
    grace.ready()
    expect(ada.row("Grace")).to_have_attribute("data-presence", "here")
    grace.expect_score("Grace", score)
    # A closed tab is shown as gone; the same name in a new browser gets the seat and the score back.
    link = grace.page.url
    grace.page.close()
    expect(ada.row("Grace")).to_have_attribute("data-presence", "dropped")
    again = open_tab(link)
    again.enter("grace")
    again.ready()
    expect(ada.row("Grace")).to_have_attribute("data-presence", "here")
    again.expect_score("Grace", score)
    assert ada.page.locator("#players li").count() == 2


def test_a_reload_keeps_the_seat(open_tab: Open, url: str) -> None:
    ada, grace = seat_two(open_tab, url)
    ada.page.locator("#start").click()
    problem = ada.await_round(1)
    ada.answer(work_out(problem))
    grace.expect_score("Ada", re.compile("^1[1-5]$"))
    ada.page.reload()
    ada.ready()
    expect(ada.page.locator("#problem")).to_have_text(problem)
    expect(ada.page.locator("#answer-form")).to_be_hidden()
    assert ada.page.locator("#players li").count() == 2
    ada.expect_score("Ada", grace.score("Ada"))


def test_a_lost_connection_is_shown_and_comes_back(open_tab: Open, url: str) -> None:
    ada, grace = seat_two(open_tab, f"{url}/", viewport=PHONE)
    grace.page.goto(
        f"{grace.page.url}?transports=polling"
    )  # Chromium's offline switch leaves open WebSockets alone
    grace.ready()
    ada.page.locator("#start").click()
    grace.await_round(1)
    before = grace.page.evaluate(PLACES)
    grace.page.context.set_offline(True)
    expect(grace.page.locator("#wire")).to_have_attribute("data-state", "off")
    assert grace.page.evaluate(PLACES) == before  # the notice moves nothing
    grace.page.keyboard.type("7")
    grace.page.context.set_offline(False)
    grace.ready()
    ada.await_round(1)
    ada.answer(0)
    expect(grace.row("Ada").locator(".mark").first).to_have_attribute("data-mark", "wrong")
    expect(grace.page.locator("#answer")).to_have_value("7")  # what was typed meanwhile stays
    expect(grace.page.locator("#answer")).to_be_focused()
    expect(ada.row("Grace")).to_have_attribute("data-presence", "here")
    assert ada.page.locator("#players li").count() == 2


def test_a_connection_that_is_lost_while_joining_is_no_fault_of_the_player(open_tab: Open, url: str) -> None:
    tab = open_tab(url)
    tab.enter("Ada")
    tab.ready()

    def serve(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        socket.on_message(lambda text: socket.close() if '"join"' in str(text) else server.send(text))

    tab.page.route_web_socket(re.compile("/socket.io/"), serve)
    tab.page.goto(f"{tab.page.url}?transports=websocket")
    expect(tab.page.locator("#wire")).to_have_text(re.compile("^Connection lost"))
    expect(tab.page.locator("#fault")).to_be_hidden()


def test_a_page_without_the_client_script_says_so(open_tab: Open, url: str) -> None:
    tab = open_tab(url)
    tab.page.context.route("**/socket.io/socket.io.js", lambda route: route.abort())
    tab.enter("Ada")
    expect(tab.page.locator("#fault")).to_contain_text("client could not be loaded")
    expect(tab.page.locator("#wire")).to_have_text("Not connected")


def test_the_name_form_works_without_javascript(open_tab: Open, url: str, artifacts: Path) -> None:
    tab = open_tab(url, PHONE, "light", java_script_enabled=False)
    tab.page.screenshot(path=artifacts / "home-phone-light.png")
    tab.page.locator("#name").fill("Ada")
    tab.page.locator("button[value=new]").click()
    expect(tab.page.locator("noscript .fault")).to_contain_text("needs it")
    tab.page.goto(url)
    expect(tab.page.locator("#name")).to_have_value("Ada")


def test_two_machines_of_two_workers_play_one_duel(
    open_tab: Open, serve: Callable[..., Any], new_redis: Callable[..., Any]
) -> None:
    """Browsers that only poll, without sticky sessions among workers; a broker joins the machines."""
    broker = new_redis()
    environment = {**PATIENT, "DUEL_BROKER": broker.url}
    options = ("--workers", "2", "--access-log-polls")
    machines = [serve(DUELS, "app:app", *options, env=environment) for _ in range(2)]
    for machine in machines:
        machine.wait_for(") serves", 2)
        machine.wait_for("joined the broker")
    ada = open_tab(machines[0].url)
    ada.enter("Ada")
    ada.ready()
    code = ada.page.url.rpartition("/")[2]
    ada.page.goto(f"{ada.page.url}?transports=polling")
    ada.ready()
    grace = open_tab(f"{machines[1].url}/duel/{code}")
    grace.enter("Grace")
    grace.ready()
    grace.page.goto(f"{machines[1].url}/duel/{code}?transports=polling")
    grace.ready()
    expect(ada.row("Grace")).to_be_visible()
    ada.page.locator("#start").click()
    for number in range(1, ROUNDS + 1):
        problem = ada.await_round(number)
        assert grace.await_round(number) == problem
        right = work_out(problem)
        ada.answer(right)
        expect(ada.page.locator("#verdict")).to_have_text(re.compile("^Right"))
        expect(grace.page.locator("#log")).to_contain_text("Ada: right")
        grace.answer(right + (number == 2))
    expect(ada.page.locator("#winner")).to_have_text("You win")
    expect(grace.page.locator("#winner")).to_have_text("Ada wins")
    assert (ada.score("Ada"), ada.score("Grace")) == (grace.score("Ada"), grace.score("Grace"))
    for machine in machines:
        assert "Session ID unknown" not in machine.log
        assert machine.stop() == 0  # before its broker goes
        polled = machine.log.count("transport=polling&t=")
        assert polled > 10, "requests of many connections"
