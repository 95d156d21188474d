"""The keywords of the faces: which there are, and what somebody is told who writes one that is not there.

It must not know what a keyword does.
"""

import pytest

from python_server.api import keywords as module
from python_server.api.keywords import (
    ADDRESSING,
    CallKeywords,
    EmitKeywords,
    EngineKeywords,
    Recipients,
    ServerKeywords,
    SocketIOKeywords,
    drop_unknown,
    names_of,
    refuse_unknown,
    slip_of,
)

COMMON_WORDS = (
    "json data event name message timeout type text user sender time id sid ack args binary compress"
)


def test_a_face_takes_what_the_faces_below_it_take() -> None:
    assert names_of(EngineKeywords) < names_of(ServerKeywords) < names_of(SocketIOKeywords)
    assert names_of(Recipients) < names_of(EmitKeywords)


def test_known_words_pass() -> None:
    refuse_unknown("emit", {"to": "red", "namespace": None}, Recipients)
    refuse_unknown("emit", {}, Recipients)


@pytest.mark.parametrize(
    ("keywords", "given", "sentence"),
    [
        (CallKeywords, "tu", "it has ignore_queue, namespace, room, sid, timeout, to; ask"),
        (ServerKeywords, "pingintervall", "did you mean 'ping_interval'?"),
        (ServerKeywords, "zzz", "it has allow_request, allow_upgrades, "),
    ],
    ids=["few: all of them", "many: the nearest", "many, and none is near"],
)
def test_an_unknown_word_is_refused_with_what_there_is(keywords: type, given: str, sentence: str) -> None:
    with pytest.raises(TypeError) as refused:
        refuse_unknown("thing()", {given: 1, "zzzz": 1}, keywords, "; ask")
    assert f"thing() has no option {given!r}: {sentence}" in str(refused.value)


@pytest.mark.parametrize(
    ("given", "meant"),
    {
        "boradcast": "broadcast",
        "brodcast": "broadcast",
        "romm": "room",
        "rooms": "room",
        "Room": "room",
        "tu": "to",
        "ot": "to",
        "skipSid": "skip_sid",
        "skip_sids": "skip_sid",
        "inlcude_self": "include_self",
        "exclude_self": "include_self",
        "name_space": "namespace",
        "calback": "callback",
        "except_room": "except_rooms",
    }.items(),
)
def test_a_slip_of_a_word_that_says_whom_an_event_reaches_is_refused(given: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"emit has no option '{given}': did you mean '{meant}'"):
        drop_unknown("emit", {given: 1}, EmitKeywords)


@pytest.mark.parametrize("given", COMMON_WORDS.split())
def test_other_words_are_no_slips(given: str) -> None:
    assert slip_of(given, ADDRESSING) is None


@pytest.fixture
def ignored(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    names: set[tuple[str, str]] = set()
    monkeypatch.setattr(module, "_IGNORED", names)
    return names


def test_other_unknown_words_are_dropped_and_named_once(
    ignored: set[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert drop_unknown("emit", {"to": "red", "json": True, "volatil": 1}, EmitKeywords) == {"to": "red"}
    assert [record.message for record in caplog.records] == [
        "emit ignores the unknown keyword 'json'",
        "emit ignores the unknown keyword 'volatil': did you mean 'volatile'?",
    ]


def test_words_that_clients_choose_fill_no_log(
    ignored: set[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    """A program that writes `emit("e", **data)`."""
    for number in range(2 * module.IGNORED_MAX_COUNT):
        assert drop_unknown("emit", {f"{number:x}" * 200: 1}, EmitKeywords) == {}
    assert len(caplog.records) == len(ignored) == module.IGNORED_MAX_COUNT
    assert max(len(record.message) for record in caplog.records) < 200


def test_options_have_no_slips_but_names_that_are_near(
    ignored: set[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    assert drop_unknown("SocketIO", {"cors_allowed_origin": "*", "cookie": None}, SocketIOKeywords) == {
        "cookie": None
    }
    assert "'cors_allowed_origin': did you mean 'cors_allowed_origins'?" in caplog.text
