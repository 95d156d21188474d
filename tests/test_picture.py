"""The README's moving picture: two windows, small enough for a page, recorded by `make picture`.

It must not know what is played: it reads sizes, frames and times.
"""

import runpy
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "two-windows.gif"
MAX_BYTES = 600_000


def test_it_is_an_animation_of_two_windows_below_600_kb() -> None:
    recorder = runpy.run_path(str(ROOT / "docs" / "make_picture.py"))
    assert recorder["PICTURE"] == PICTURE
    assert PICTURE.stat().st_size < MAX_BYTES
    milliseconds = 0
    with Image.open(PICTURE) as picture:
        assert (picture.format, picture.size) == ("GIF", recorder["SIZE"])
        assert picture.size[0] > 2 * recorder["WIDTH"]
        assert picture.n_frames > 20
        assert picture.info["loop"] == 0, "without end"
        for number in range(picture.n_frames):
            picture.seek(number)
            milliseconds += picture.info["duration"]
    assert 8_000 <= milliseconds <= 15_000


def test_the_readme_shows_it_and_says_how_it_is_made() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "](docs/two-windows.gif)" in readme
    assert "`make picture`" in readme
    assert "\npicture: $(VENV)/test-installed\n\t$(BIN)/python docs/make_picture.py\n" in (
        ROOT / "Makefile"
    ).read_text("utf-8")
