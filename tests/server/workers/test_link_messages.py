"""The shapes and the version of what workers tell each other (link_messages.py).

It must not know links.
"""

import pytest

from python_server.workers import link_messages


@pytest.mark.parametrize(
    "word",
    [
        link_messages.Greeting(link_messages.VERSION, (1, 2), True),
        link_messages.Ready(link_messages.VERSION),
        link_messages.NewWorker(4),
        link_messages.Succession(1, 2),
        link_messages.Drain(None),
    ],
    ids=lambda word: type(word).__name__,
)
def test_a_word_arrives_as_it_is(word: object) -> None:
    assert link_messages.decode(link_messages.encode(word), type=type(word)) == word


def test_the_version_is_read_whatever_follows_it() -> None:
    assert link_messages.version_of(link_messages.encode(link_messages.Greeting(7, (), False))) == 7
    assert link_messages.version_of(link_messages.encode([9, {"more": [b"bytes"]}])) == 9
    for said in (
        b"",
        b"{}",
        b'{"living": [], "settles": true}',
        link_messages.encode([]),
        link_messages.encode(["1"]),
    ):
        assert link_messages.version_of(said) == 0


def test_the_log_says_which_version_another_speaks() -> None:
    assert link_messages.other_version(3) == (
        f"speaks version 3 of the workers' words, not {link_messages.VERSION}: restart the whole server"
    )
