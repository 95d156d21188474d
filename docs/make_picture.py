"""Records docs/two-windows.gif: two browsers play Math Duels while all workers of the server are replaced.

It must not know how a duel is judged or a worker replaced: it reads the pages, and the server's log.
"""

import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from signal import SIGHUP

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page, sync_playwright

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "common"))
from running_program import PATIENCE_SECONDS, RunningProgram

ROOT = Path(__file__).resolve().parents[1]
PICTURE = Path(__file__).with_name("two-windows.gif")
WIDTH, HEIGHT, EDGE, BAND = 390, 560, 8, 60
SIZE = (2 * WIDTH + 3 * EDGE, HEIGHT + EDGE + BAND)
FRAME_SECONDS, LAST_SECONDS = 0.2, 1.6
PACE = {"DUEL_ROUNDS": "2", "DUEL_ROUND_SECONDS": "30", "DUEL_REVEAL_SECONDS": "0.6"}
# What stands under the windows as soon as the log says what stands before it.
CAPTIONS = {
    "serves": "$ DUEL_BROKER=redis://...  wsframe serve app:app --workers 2",
    "rolling restart of 2 workers": "$ kill -HUP:  every worker is replaced, one after the other",
    "rolling restart done": "Restart done:  the windows come back by themselves, no point is lost",
}
LOG_LINE = re.compile(r"INFO (worker \d+ \(process \d+\) .*|rolling restart .*)")


class Film:
    """What two pages showed and what the log had said, about five times a second."""

    def __init__(self, server: RunningProgram, pages: tuple[Page, Page]) -> None:
        self._server = server
        self._pages = pages
        self._frames: list[tuple[float, list[bytes], str]] = []

    def shoot(self) -> None:
        due = self._frames[-1][0] + FRAME_SECONDS if self._frames else 0.0
        self._pages[0].wait_for_timeout(max(0.0, due - time.monotonic()) * 1000)
        now, log = time.monotonic(), self._server.log
        self._frames.append((now, [page.screenshot(caret="initial") for page in self._pages], log))

    def until(self, is_so: Callable[[Page], bool]) -> None:
        """Until both pages show it, and two frames more."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not all(is_so(page) for page in self._pages):
            assert time.monotonic() < end, self._server.log
            self.shoot()
        for _ in range(2):
            self.shoot()

    def save(self) -> None:
        pictures = [drawn(shots, log) for _, shots, log in self._frames]
        strip = Image.new("RGB", (SIZE[0], SIZE[1] * len(pictures)))
        for number, picture in enumerate(pictures):
            strip.paste(picture, (0, number * SIZE[1]))
        palette = strip.quantize(255, Image.Quantize.FASTOCTREE)  # one for all: what stands still stays equal
        first, *others = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
        spans = [after[0] - before[0] for before, after in pairwise(self._frames)]
        durations = [round(seconds * 100) * 10 for seconds in (*spans, LAST_SECONDS)]
        first.save(PICTURE, save_all=True, append_images=others, duration=durations, loop=0, disposal=1)
        print(f"{PICTURE}: {len(pictures)} frames, {sum(durations) / 1000} s, {PICTURE.stat().st_size} bytes")


def drawn(shots: list[bytes], log: str) -> Image.Image:
    """Both windows in a frame, and under them what happens: in plain words, and in the log's."""
    picture = Image.new("RGB", SIZE, "#39424e")
    for number, shot in enumerate(shots):
        window = Image.open(BytesIO(shot)).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        picture.paste(window, (EDGE + number * (WIDTH + EDGE), EDGE))
    caption = [words for said, words in CAPTIONS.items() if said in log][-1]
    draw, middle, top = ImageDraw.Draw(picture), SIZE[0] / 2, HEIGHT + EDGE
    draw.text((middle, top + 20), caption, "white", ImageFont.load_default(18), "mm")
    draw.text((middle, top + 43), LOG_LINE.findall(log)[-1], "#b9c2cf", ImageFont.load_default(14), "mm")
    return picture


def play(film: Film, server: RunningProgram, ada: Page, grace: Page) -> None:
    """A duel of two rounds; the workers are replaced in the second."""

    def both_here(page: Page) -> bool:
        here = page.locator("#players li[data-presence=here]").count()
        return here == 2 and page.locator("#wire").inner_text() == "Connected"

    def await_round(number: int) -> list[list[str]]:
        film.until(lambda page: f"Round {number}" in page.locator("#heading").inner_text())
        return [page.locator(".score").all_inner_texts() for page in (ada, grace)]

    def answer(page: Page, error: int = 0) -> None:
        problem = page.locator("#problem").inner_text().replace("\N{MULTIPLICATION SIGN}", "*")
        page.keyboard.type(str(eval(problem) + error))
        film.shoot()
        page.keyboard.press("Enter")
        film.until(lambda _: page.locator("#written").is_visible())

    film.shoot()
    grace.keyboard.type("Grace")
    film.shoot()
    grace.keyboard.press("Enter")
    film.until(both_here)
    ada.locator("#start").click()
    await_round(1)
    answer(ada)
    answer(grace, error=1)
    scores = await_round(2)
    server.signal(SIGHUP)
    film.until(lambda page: server.log.count("has ended") == 2 and both_here(page))
    assert await_round(2) == scores
    answer(grace)
    answer(ada)
    film.until(lambda page: page.locator("#winner").is_visible() and not page.locator(".shower").count())


def main() -> None:
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        broker = RunningProgram(["redis-server", "--port", "0", "--unixsocket", "redis"], Path(folder))
        stack.callback(broker.stop)
        broker.wait_for("ready to accept connections")
        command = [f"{sys.prefix}/bin/wsframe", "serve", "app:app", "--workers", "2", "--port", "0"]
        environment = {**PACE, "DUEL_BROKER": f"unix://{folder}/redis"}
        server = RunningProgram(command, ROOT / "examples" / "math_duels", environment)
        stack.callback(server.stop)
        server.wait_for(") serves", 2)
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = stack.enter_context(playwright.chromium.launch(executable_path=path, args=["--no-sandbox"]))
        window = {"viewport": {"width": WIDTH, "height": HEIGHT}, "device_scale_factor": 2}
        ada, grace = (browser.new_page(**window, color_scheme=scheme) for scheme in ("light", "dark"))
        ada.goto(server.find(re.compile(r"http://[\w.:]+"))[0])
        ada.locator("#name").fill("Ada")
        ada.keyboard.press("Enter")
        ada.locator("#leave").wait_for()
        grace.goto(ada.locator("#link").input_value())
        film = Film(server, (ada, grace))
        play(film, server, ada, grace)
    film.save()


if __name__ == "__main__":
    main()
