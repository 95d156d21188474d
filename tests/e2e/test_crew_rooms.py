"""Rooms, broadcasts, acks, questions over four real workers, told by python-socketio and the official client.

It must not know the wire, nor how workers reach each other; who is whose client the workers say themselves.
"""

import os
import queue
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ordered_clients import OrderedClient

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60.0
WORKERS_COUNT = 4
CLIENTS_MAX_COUNT = 300


class Member:
    """One client; what it was told stands in queues, what it is asked it answers with its own sid."""

    def __init__(self, url: str) -> None:
        self.client = OrderedClient()
        self.said: queue.Queue[Any] = queue.Queue()
        self.answered: queue.Queue[Any] = queue.Queue()
        self.closing: queue.Queue[Any] = queue.Queue()
        self.gone: queue.Queue[Any] = queue.Queue()
        self.client.on("said", self.said.put)
        self.client.on("answered", self.answered.put)
        self.client.on("closing", self.closing.put)
        self.client.on("disconnect", self.gone.put)
        self.was_asked, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()
        self.client.on("question", self._answer)
        self.client.connect(url, transports=["websocket"])
        self.sid: str = self.client.get_sid()

    def _answer(self, data: Any) -> Any:
        self.was_asked.set()
        self.may_answer.wait()
        return [self.sid, data]

    def call(self, event: str, *data: Any) -> Any:
        return self.client.call(event, data, timeout=int(PATIENCE_SECONDS))

    def next(self) -> Any:
        return self.said.get(timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self.client.close()


class Membership:
    """A server with four workers and clients on each."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.members: dict[int, list[Member]] = defaultdict(list)

    def fill(self, count: int) -> None:
        """Until every worker has `count` clients: which one takes a connection is the system's choice."""
        for _ in range(CLIENTS_MAX_COUNT):
            if len(self.members) == WORKERS_COUNT and min(map(len, self.members.values())) >= count:
                return
            member = Member(self.server.url)
            self.members[member.call("where")].append(member)
        raise AssertionError(f"after {CLIENTS_MAX_COUNT} clients: {dict(self.members)}")

    @property
    def everybody(self) -> list[Member]:
        return [member for members in self.members.values() for member in members]

    def one_of_each(self) -> list[Member]:
        return [members[0] for members in self.members.values()]

    def hear(self, members: list[Member], what: Any) -> None:
        """Each of them hears it next, and the others have heard nothing when they hear a last word."""
        for member in members:
            assert member.next() == what
        self.everybody[0].call("say", "last word")
        for member in self.everybody:
            assert member.next() == "last word"


@pytest.fixture(scope="module")
def crew(serve: Callable[..., Any], supervisor: str) -> Iterator[Membership]:
    options = ("--workers", str(WORKERS_COUNT), "--worker-timeout", "600")
    crew = Membership(serve(APPS, "crew_app:app", *options, supervisor=supervisor))
    crew.server.wait_serving(WORKERS_COUNT)
    crew.fill(2)
    yield crew
    for member in crew.everybody:
        member.close()


def test_a_broadcast_reaches_everybody(crew: Membership) -> None:
    for speaker in crew.one_of_each():
        speaker.call("say", {"text": "caf\u00e9", "data": b"\x00\xff"})
        crew.hear(crew.everybody, {"text": "caf\u00e9", "data": b"\x00\xff"})


def test_what_ignores_the_queue_stays_in_its_process(crew: Membership) -> None:
    for speaker in crew.one_of_each():
        (home,) = [members for members in crew.members.values() if speaker in members]
        speaker.call("say", "whoever is here", None, {"ignore_queue": True})
        crew.hear(home, "whoever is here")


def test_rooms_exceptions_and_single_clients(crew: Membership) -> None:
    speaker, *others = crew.one_of_each()
    for member in others:
        assert member.call("join", "red") == "done"
    speaker.call("say", "to red", "red")
    crew.hear(others, "to red")
    speaker.call("say", "to some", "red", {"skip_sid": others[0].sid})
    crew.hear(others[1:], "to some")
    speaker.call("say", "to one", others[1].sid)
    crew.hear([others[1]], "to one")
    speaker.call("close room", "red")
    speaker.call("say", "to nobody", "red")
    crew.hear([], None)


def test_clients_are_moved_from_any_worker(crew: Membership) -> None:
    first, second, third, fourth = crew.one_of_each()
    assert first.call("join", "moved", fourth.sid) == "done"
    assert "moved" in second.call("rooms", fourth.sid)
    assert second.call("members", "moved") == third.call("participants", "moved") == [fourth.sid]
    second.call("leave", "moved", fourth.sid)
    second.call("say", "to nobody", "moved")
    crew.hear([], None)
    assert first.call("join", "moved", "nobody") == "sid is not connected to requested namespace"
    for member in (first, third, fourth):
        assert first.call("join", second.sid, member.sid) == "cannot enter a sid room"
    moves = [["join", fourth.sid, "moved"], ["leave", fourth.sid, "moved"]]
    assert fourth.call("moves", "moved", 2) == moves
    assert first.call("moves", "moved", 0) == []


def test_everybody_is_known_everywhere(crew: Membership) -> None:
    sids = sorted(member.sid for member in crew.everybody)
    for member in crew.one_of_each():
        assert member.call("members") == sids


def test_acks_come_from_any_worker(crew: Membership) -> None:
    first, second, *_ = crew.one_of_each()
    assert first.call("ask", second.sid, "data") == [second.sid, "data"]
    assert first.call("ask", "nobody", "data") == {"error": "the client has left: no answer will come"}
    answers = first.call("ask room", second.sid, 10)
    assert answers == {"values": [[[second.sid, "all"]]], "missing": 0}
    for member in crew.one_of_each():
        member.call("join", "asked")
    answers = first.call("ask room", "asked", 10)
    asked = sorted([member.sid, "all"] for member in crew.one_of_each())
    assert (sorted(values[0] for values in answers["values"]), answers["missing"]) == (asked, 0)
    second.call("ask with callbacks", "asked")
    told = [second.answered.get(timeout=PATIENCE_SECONDS) for _ in range(WORKERS_COUNT)]
    assert sorted(told) == asked


def test_order_of_each_sender_holds_in_a_room(crew: Membership) -> None:
    listeners = crew.one_of_each()
    for member in listeners:
        member.call("join", "busy")
    count = 400
    for member in listeners:
        member.client.emit("say many", (member.sid, count, "busy"))
    for listener in listeners:
        heard: dict[str, list[int]] = defaultdict(list)
        for _ in range(count * len(listeners)):
            name, number = listener.next()
            heard[name].append(number)
        assert heard == {member.sid: list(range(count)) for member in listeners}
    crew.hear([], None)


def test_a_client_is_sent_away_from_any_worker(crew: Membership) -> None:
    guest = Member(crew.server.url)
    home = guest.call("where")
    speaker = next(members[0] for worker, members in crew.members.items() if worker != home)
    speaker.call("kick", guest.sid, "too loud")
    assert guest.closing.get(timeout=PATIENCE_SECONDS)["detail"] == "too loud"
    guest.gone.get(timeout=PATIENCE_SECONDS)
    assert speaker.call("ask", guest.sid, "data") == {"error": "the client has left: no answer will come"}
    guest.close()


def test_a_client_ends_with_its_credentials_whoever_says_when(crew: Membership) -> None:
    guest = Member(crew.server.url)
    home = guest.call("where")
    speaker = next(members[0] for worker, members in crew.members.items() if worker != home)
    speaker.call("expire", guest.sid, 3600)
    guest.call("expire", guest.sid, 1)
    assert guest.closing.get(timeout=PATIENCE_SECONDS)["reason"] == "auth expired"
    guest.gone.get(timeout=PATIENCE_SECONDS)
    guest.close()
    other = Member(crew.server.url)
    speaker = next(members[0] for worker, members in crew.members.items() if worker != other.call("where"))
    speaker.call("expire", other.sid, 1)
    assert other.closing.get(timeout=PATIENCE_SECONDS)["reason"] == "auth expired"
    other.gone.get(timeout=PATIENCE_SECONDS)
    other.close()


def test_one_user_in_several_workers_is_one_member(crew: Membership) -> None:
    first, second, third, fourth = crew.one_of_each()
    fourth.call("join", "watchers of team")
    for member in (first, second, third):
        assert member.call("join as", "team", {"name": "Ann"}, "ann") == "done"
    assert fourth.next() == ["join", "Ann"]
    assert first.call("join as", "team", {"name": "Bob"}, "bob", fourth.sid) == "done"
    assert fourth.next() == ["join", "Bob"], "put there by another worker"
    for member in crew.one_of_each():
        assert member.call("who", "team") == [["ann", {"name": "Ann"}]] * 3 + [["bob", {"name": "Bob"}]]
    second.call("update", "team", {"name": "Eve"}, fourth.sid)
    assert fourth.next() == ["update", "Eve"]
    assert "allowed are 4096" in first.call("join as", "team", {"name": "x" * 5000})
    for member in (first, second, third, fourth):
        member.call("leave", "team")
    assert sorted(fourth.next() for _ in range(2)) == [["leave", "Ann"], ["leave", "Eve"]]
    crew.hear([], None)


def test_a_worker_that_stands_still_blocks_nobody(crew: Membership) -> None:
    """Stopped, it is neither heard nor waited for more than once; continued, it has missed nothing."""
    stopped = crew.one_of_each()[3].call("where")
    awake = [member for worker, members in crew.members.items() for member in members if worker != stopped]
    first, *_, last = awake
    os.kill(stopped, signal.SIGSTOP)
    try:
        first.call("say", "while it stands still")
        for member in awake:
            assert member.next() == "while it stands still"
        assert first.call("ask", last.sid, "data") == [last.sid, "data"]
        assert first.call("members") == sorted(member.sid for member in awake)
        crew.server.wait_for("did not answer within 2 s when asked for members")
        assert first.call("join", "awake", last.sid) == "done"
        assert first.call("rooms", last.sid).count("awake") == 1
    finally:
        os.kill(stopped, signal.SIGCONT)
    for member in crew.members[stopped]:
        assert member.next() == "while it stands still"
    crew.hear([], None)
    assert len(first.call("members")) == len(crew.everybody)


@pytest.mark.needs_node
def test_the_official_client(crew: Membership, drive: Callable[..., None]) -> None:
    drive("crew.mjs", crew.server.url, str(WORKERS_COUNT))
    crew.hear([], None)


def test_a_worker_that_is_killed_is_missed_by_nobody(crew: Membership) -> None:
    """Who waits for its clients' acks hears at once that they are gone; the others go on."""
    first, *_ = crew.one_of_each()
    victim = crew.one_of_each()[3].call("where")
    lost = crew.members.pop(victim)
    lost[0].call("join", "doomed")
    first.call("join", "watchers of staff")
    for member, name in ((lost[0], "Ann"), (lost[1] if len(lost) > 1 else lost[0], "Ann"), (first, "Eve")):
        member.call("join as", "staff", {"name": name}, name)
    assert sorted(first.next() for _ in range(2)) == [["join", "Ann"], ["join", "Eve"]]
    lost[0].may_answer.clear()
    lost[0].was_asked.clear()
    answers: list[Any] = []
    asked = threading.Thread(target=lambda: answers.append(first.call("ask room", "doomed", 600)))
    asked.start()
    assert lost[0].was_asked.wait(PATIENCE_SECONDS)
    os.kill(victim, signal.SIGKILL)
    for member in lost:
        member.may_answer.set()
        member.gone.get(timeout=PATIENCE_SECONDS)
        member.close()
    asked.join()
    assert answers == [{"values": [], "missing": 1}]
    assert first.call("who", "staff") == [["Eve", {"name": "Eve"}]]
    assert first.next() == ["leave", "Ann"], "the others tell of it"
    crew.fill(2)
    sids = sorted(member.sid for member in crew.everybody)
    for member in crew.one_of_each():
        assert member.call("members") == sids
    crew.hear([], None)
