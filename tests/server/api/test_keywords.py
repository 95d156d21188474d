"""The keywords of the faces: which there are, and what somebody is told who writes one that is not there.

It must not know what a keyword does.
"""

import pytest

from python_server.api.keywords import (
    CallKeywords,
    EmitKeywords,
    EngineKeywords,
    Recipients,
    ServerKeywords,
    SocketIOKeywords,
    names_of,
    refuse_unknown,
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
        (CallKeywords, "tu", "it has ignore_queue, namespace, room, timeout, to; ask"),
        (ServerKeywords, "pingintervall", "did you mean 'ping_interval'?"),
        (ServerKeywords, "zzz", "it has allow_eio3, allow_request, allow_upgrades, "),
    ],
    ids=["few: all of them", "many: the nearest", "many, and none is near"],
)
def test_an_unknown_word_is_refused_with_what_there_is(keywords: type, given: str, sentence: str) -> None:
    with pytest.raises(TypeError) as refused:
        refuse_unknown("thing()", {given: 1, "zzzz": 1}, keywords, "; ask")
    assert f"thing() has no option {given!r}: {sentence}" in str(refused.value)
