"""The plain HTTP side of Math Duels on the real server: templates, static files, cookies, a POST form.

It must not know Socket.IO.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

DUELS = Path(__file__).resolve().parents[2] / "examples" / "math_duels"
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any]) -> str:
    return str(serve(DUELS, "app:app").url)


def post(address: str, **form: str) -> requests.Response:
    return requests.post(address, data=form, allow_redirects=False, timeout=PATIENCE_SECONDS)


def get(address: str, **options: Any) -> requests.Response:
    return requests.get(address, allow_redirects=False, timeout=PATIENCE_SECONDS, **options)


def test_the_first_page(url: str) -> None:
    page = get(url + "/")
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert '<form class="slip" method="post" action="/play">' in page.text


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("style.css", "text/css"),
        ("game.js", "text/javascript"),
        ("finish.js", "text/javascript"),
        ("view.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_static_files_come_whole(url: str, name: str, content_type: str) -> None:
    response = get(f"{url}/static/{name}")
    assert response.status_code == 200
    assert response.headers["Content-Type"].split(";")[0] == content_type
    assert response.content == (DUELS / "static" / name).read_bytes()
    assert get(f"{url}/static/{name}", headers={"If-None-Match": response.headers["ETag"]}).status_code == 304


def test_the_pages_say_what_the_settings_are(serve: Callable[..., Any]) -> None:
    settings = {"DUEL_ROUNDS": "1", "DUEL_ROUND_SECONDS": "2.5"}
    quick = serve(DUELS, "app:app", env=settings).url
    for path in ("/", "/duel/K7QM"):
        assert "1 sum, 2.5 seconds each." in get(quick + path).text


@pytest.mark.parametrize(
    ("way", "place"),
    [("new", r"/duel/[A-Z2-9]{4}"), ("practice", r"/practice/SOLO-[A-Z2-9]{8}")],
)
def test_the_form_leads_to_a_lobby_and_remembers_the_name(url: str, way: str, place: str) -> None:
    response = post(url + "/play", name=" Zoë  <b> ", way=way)
    assert response.status_code == 303
    assert re.fullmatch(place, response.headers["Location"])
    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith("duel_name=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    page = get(url + response.headers["Location"], cookies=response.cookies)
    assert page.status_code == 200
    assert 'data-name="Zoë &lt;b&gt;"' in page.text


def test_a_typed_code_is_joined_in_upper_case(url: str) -> None:
    response = post(url + "/play", name="Ada", code=" k7qm ", way="new")
    assert (response.status_code, response.headers["Location"]) == (303, "/duel/K7QM")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"name": "", "way": "new"}, "Please type a name."),
        ({"name": "\u200b\x07 ", "way": "new"}, "Please type a name."),
        ({"name": "x" * 21, "way": "new"}, "at most 20 characters"),
        ({"name": "Ada", "way": "join", "code": "O0O0"}, "four letters or digits"),
        ({"name": "Ada", "way": "join", "code": "SOLO-ABCDEFGH"}, "one seat only"),
        ({}, "Please type a name."),
    ],
)
def test_a_bad_form_is_shown_again_with_the_reason(url: str, form: dict[str, str], message: str) -> None:
    response = post(url + "/play", **form)
    assert response.status_code == 400
    assert message in response.text
    assert "Set-Cookie" not in response.headers


def test_a_shared_link_asks_for_a_name_first(url: str) -> None:
    page = get(url + "/duel/K7QM")
    assert page.status_code == 200
    assert "You are invited to a duel." in page.text
    response = post(url + "/duel/K7QM", name="Grace")
    assert (response.status_code, response.headers["Location"]) == (303, "/duel/K7QM")
    assert "duel_name" in response.cookies


def test_addresses_that_are_no_lobby(url: str) -> None:
    assert get(url + "/duel/k7qm").headers["Location"] == "/duel/K7QM"
    for path in ("/duel/TOOLONG", "/duel/O0O0", "/duel/SOLO-ABCDEFGH", "/practice/K7QM", "/nothing/here"):
        assert get(url + path).status_code == 404, path
    assert get(url + "/play").status_code == 405


def test_one_connection_carries_many_requests(url: str) -> None:
    with requests.Session() as session:
        statuses = [session.get(url + "/", timeout=PATIENCE_SECONDS).status_code for _ in range(20)]
        head = session.head(url + "/", timeout=PATIENCE_SECONDS)
        assert statuses == [200] * 20
        assert (head.status_code, head.content) == (200, b"")
        assert session.get(url + "/duel/K7QM", timeout=PATIENCE_SECONDS).status_code == 200
