"""Requests for a sibling's session reach it with their open connection (handover.py and what it leans on).

It must not know processes: the same between real workers stands in tests/e2e/test_workers_homes.py.
"""

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from python_server.net.certificates import make_context
from python_server.net.link import pair
from python_server.settings import TLSSettings
from python_server.workers.peers import MessageKind
from worker_town import Worker

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("localhost")


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and a client's."""
    path = tmp_path / "server.pem"
    CERTIFICATE.private_key_and_cert_chain_pem.write_to_path(str(path))
    client = ssl.create_default_context()
    AUTHORITY.configure_trust(client)
    return make_context(TLSSettings(certfile=str(path)), ["http/1.1"]), client


def test_a_poll_and_a_post_reach_their_home(town: Any) -> None:
    sid = town.connect(2).open()
    assert sid.startswith("2.")
    assert town.connect(1).post(sid, b"4hello") == (200, b"ok")
    assert town.connect(3).poll(sid) == (200, b"4hello")
    assert town[2].heard.messages == ["hello"]


def test_what_comes_to_a_worker_waits_until_that_one_has_met_all_others(town: Any) -> None:
    """What it said before would not reach them, and who comes back could not be asked for there."""
    young = town.workers[4] = Worker(town.loop, 4, town.faults)
    ends = {index: pair() for index in (1, 2, 3)}
    for index, (ours, _) in ends.items():
        young.siblings.join(index, ours, serving=True)
    for index in (1, 2):
        town[index].siblings.join(4, ends[index][1], serving=False)
    young.siblings.begin(lambda: None)
    town.until(lambda: 4 in town[1].siblings.living)
    client = town.connect(1)
    client.send(town.get("EIO=4&transport=polling&sid=4.AAAAAAAAAAAAAAAAAAAA"))
    town.until(lambda: bool(young.homes.waiting))
    assert young.answered == []
    town[3].siblings.join(4, ends[3][1], serving=False)
    assert client.response()[0] == 400
    assert young.homes.waiting == []


def test_a_parked_poll_waits_at_its_home(town: Any) -> None:
    sid = town.connect(2).open()
    polling = town.connect(1)
    polling.send(town.get(f"EIO=4&transport=polling&sid={sid}"))
    town.until(lambda: bool(town[2].channels) and not town[1].channels)
    assert town.connect(3).post(sid, b"4x") == (200, b"ok")
    assert polling.response() == (200, b"4x")


def test_the_home_sees_peer_and_forwarded_fields_and_writes_the_log(town: Any) -> None:
    sid = town.connect(2).open()
    asking = town.connect(1)
    name = asking.sock.getsockname()
    town[2].answered.clear()
    status, _ = asking.ask(
        town.get(f"EIO=4&transport=carrier&sid={sid}", b"X-Forwarded-For: 192.0.2.1\r\n")
    )  # refused where it came: its sender never meant a session
    assert (status, town[1].answered[-1][1:]) == (400, (400, name))
    assert asking.post(sid, b"4x")[0] == 200
    target, logged, peer = town[2].answered[-1]
    assert (logged, peer) == (200, name)
    assert f"sid={sid}" in target
    assert [entry for entry in town[1].answered if f"sid={sid}" in entry[0] and entry[1] == 200] == []


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_post_arrives_byte_by_byte(town: Any, chunked: bool) -> None:
    sid = town.connect(2).open()
    posting = town.connect(1)
    for byte in town.post(sid, b"4some words", chunked=chunked):
        posting.send(bytes([byte]))
        town.turn(1)
    assert posting.response() == (200, b"ok")
    assert town[2].heard.messages == ["some words"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_post_is_cut_anywhere(town: Any, chunked: bool) -> None:
    sid = town.connect(2).open()
    data = town.post(sid, b"4word", chunked=chunked)
    for cut in range(1, len(data)):
        posting = town.connect(1 if cut % 2 else 3)
        posting.send(data[:cut])
        town.turn(2)
        assert posting.ask(data[cut:]) == (200, b"ok")
        posting.leave()
    assert town[2].heard.messages == ["word"] * (len(data) - 1)


def test_a_large_body_is_partly_read_before_the_hand_over(town: Any) -> None:
    sid = town.connect(2).open()
    body = b"4" + b"x" * 900_000
    assert town.connect(1).post(sid, body) == (200, b"ok")
    assert town[2].heard.messages == [body[1:].decode()]


def test_pipelined_requests_for_several_homes_are_answered_in_order(town: Any) -> None:
    sids = {index: town.connect(index).open() for index in (1, 2, 3)}
    client = town.connect(1)
    order = (2, 1, 3, 3, 2, 1)
    client.send(
        b"".join(
            town.post(sids[index], b"4%d" % place) + b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % place
            for place, index in enumerate(order)
        )
    )
    for index in order:
        assert client.response() == (200, b"ok")
        assert client.response() == (200, b"worker %d:" % index)  # whoever has the connection answers
    assert town[2].heard.messages == ["0", "4"]
    assert town[3].heard.messages == ["2", "3"]


def test_one_kept_connection_carries_sessions_of_all_homes(town: Any) -> None:
    client = town.connect(1)
    sids = {index: town.connect(index).open() for index in (1, 2, 3)}
    for turn in range(20):
        for index in (3, 1, 2):
            assert client.post(sids[index], b"4%d" % turn) == (200, b"ok")
            assert client.poll(sids[index]) == (200, b"4%d" % turn)
    assert not client.ended
    assert town[1].heard.messages == [str(turn) for turn in range(20)]


def test_a_websocket_upgrade_with_frames_behind_the_head(town: Any) -> None:
    sid = town.connect(2).open()
    client, decoder = town.connect(1), town.frames_decoder()
    client.send(town.upgrade(sid) + town.frame("2probe") + town.frame("5") + town.frame("4early"))
    assert client.response()[0] == 101
    assert client.messages(2, decoder) == ["3probe", "4early"]
    client.send(town.frame("4later"))
    assert client.messages(1, decoder) == ["4later"]
    assert town[2].heard.messages == ["early", "later"]
    client.leave()
    town.until(lambda: town[2].heard.closed == ["transport close"])


def test_http_1_0_and_connection_close(town: Any) -> None:
    sid = town.connect(2).open()
    town.connect(2).post(sid, b"4a")
    old = town.connect(1)
    assert old.ask(town.get(f"EIO=4&transport=polling&sid={sid}", version=b"1.0")) == (200, b"4a")
    town.until(lambda: old.ended)
    town.connect(2).post(sid, b"4b")
    last = town.connect(1)
    assert last.ask(town.get(f"EIO=4&transport=polling&sid={sid}", b"Connection: close\r\n")) == (200, b"4b")
    town.until(lambda: last.ended)


def test_expect_continue_is_answered_by_the_home(town: Any) -> None:
    sid = town.connect(2).open()
    client = town.connect(1)
    head, _, body = town.post(sid, b"4x").partition(b"\r\n\r\n")
    client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
    assert client.response() == (100, b"")
    assert client.ask(body) == (200, b"ok")


def test_a_head_at_its_limits_is_handed_over(town: Any) -> None:
    sid = town.connect(2).open()
    fields = b"".join(b"X-%d: %s\r\n" % (place, b"y" * 8000) for place in range(8))[: 65_536 - 300]
    fields = fields[: fields.rindex(b"y")] + b"\r\n"
    head = town.get(f"EIO=4&transport=polling&sid={sid}", fields)
    assert len(head) > 60_000
    town.connect(2).post(sid, b"4a")
    assert town.connect(1).ask(head) == (200, b"4a")


def test_a_foreign_request_that_is_refused_where_it_came_leaves_its_body_behind(town: Any) -> None:
    """What is not given away is read on: the body is no request of its own (smuggling)."""
    sid = town.connect(2).open()
    client = town.connect(1)
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    head, _, _ = town.post(sid, smuggled).partition(b"\r\n\r\n")
    client.send(
        head + b"\r\nOrigin: http://evil.test\r\n\r\n" + smuggled + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert client.response()[0] == 403
    assert client.response() == (200, b"worker 1:")
    town.turn()
    assert not client.received
    assert [target for target, _, _ in town[1].answered if "smuggled" in target] == []


def test_a_dead_home_is_error_1_at_once(town: Any) -> None:
    sid = town.connect(2).open()
    town[2].siblings.close()
    town.until(lambda: town[1].siblings.living == (3,))
    client = town.connect(1)
    status, body = client.poll(sid)
    assert (status, b'"code":1' in body.replace(b" ", b"")) == (400, True)
    assert client.open().startswith("1.")  # the connection lives on


def test_a_session_that_has_ended_at_its_home_is_error_1_there(town: Any) -> None:
    sid = town.connect(2).open()
    town[2].engine.close()
    assert town.connect(1).poll(sid)[0] == 400
    assert town[2].answered[-1][1] == 400


def test_what_was_handed_over_once_goes_no_further(town: Any) -> None:
    """A worker that takes itself for another's home must not make a ring of it."""
    sid = town.connect(2).open()
    town[1].siblings._links[2] = town[1].siblings._links[3]  # worker 1 mistakes 3 for 2
    client = town.connect(1)
    assert client.poll(sid)[0] == 400
    assert town[3].answered[-1][1] == 400
    assert town[2].answered[-1][1] == 200  # its own handshake


def test_a_home_that_takes_nothing_more_is_error_1_and_said(
    town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sid = town.connect(2).open()
    monkeypatch.setattr(town[1].siblings, "send", lambda *args, **named: False)
    client = town.connect(1)
    assert client.poll(sid)[0] == 400
    assert client.open().startswith("1.")
    assert ["does not take connections" in said for said in town[1].complaints] == [True]


def test_a_client_that_leaves_during_the_hand_over(town: Any) -> None:
    before = town.descriptors_count()
    for data_of in (
        lambda sid: town.get(f"EIO=4&transport=polling&sid={sid}"),
        lambda sid: town.post(sid, b"4abc")[:-2],
        lambda sid: town.upgrade(sid),
        lambda sid: town.get(f"EIO=4&transport=polling&sid={sid}")[:-1],
    ):
        sid = town.connect(2).open()
        for turns in range(4):
            client = town.connect(1)
            client.send(data_of(sid))
            town.turn(turns)
            client.leave()
            town.until(lambda: not town[1].channels)
    for worker in town.workers.values():
        for channel in list(worker.channels):
            channel.abort("counted")
    for client in town.clients:
        client.leave()
    town.until(lambda: town.descriptors_count() <= before)


def test_a_thousand_hand_overs_leak_no_descriptor(town: Any) -> None:
    sids = [town.connect(index).open() for index in (2, 3)]
    client = town.connect(1)
    before = town.descriptors_count()
    for _ in range(500):
        for sid in sids:  # each elsewhere than the one before
            assert client.post(sid, b"4x") == (200, b"ok")
            assert client.poll(sid) == (200, b"4x")
        foreign = town.connect(1)
        assert foreign.post(sids[0], b"4y") == (200, b"ok")
        assert foreign.poll(sids[0]) == (200, b"4y")
        foreign.leave()
        town.clients.remove(foreign)
    town.until(lambda: not town[1].channels and len(town[2].channels) + len(town[3].channels) == 3)
    assert town.descriptors_count() == before


def test_a_connection_of_a_unix_socket_is_passed_as_well(town: Any) -> None:
    sid = town.connect(2).open()
    client = town.connect_unix(1, "/run/shop.sock")
    assert client.post(sid, b"4x") == (200, b"ok")
    assert town[2].answered[-1][1:] == (200, "")
    assert client.poll(sid) == (200, b"4x")
    assert not town[1].channels


def fill(town: Any, client: Any, channel: Any) -> list[bytes]:
    """Ask, and read nothing, until answers wait in the transport; what is to be read later."""
    client.reading = False
    body = b"z" * 20_000
    answers: list[bytes] = []
    while not channel._transport.queued_bytes:
        answered_count = len(town[1].answered) + 1
        client.send(b"POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        town.until(lambda: len(town[1].answered) == answered_count)  # noqa: B023
        town.turn(1)
        answers.append(b"worker 1:" + body)
    assert not channel._transport.blocked
    return answers


def test_a_connection_goes_home_when_the_client_has_taken_its_earlier_answers(town: Any) -> None:
    sid = town.connect(2).open()
    client = town.connect(1)
    (channel,) = town[1].channels
    answers = fill(town, client, channel)
    before = town.descriptors_count()
    client.send(town.post(sid, b"4behind") + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    town.until(lambda: channel not in town[1].channels)
    assert town[2].heard.messages == []
    (leaving,) = town[1].channels
    leaving.refuse_keep_alive()  # a server that stops lets it
    leaving.close_when_idle()
    assert town.descriptors_count() <= before
    client.reading = True
    for answer in answers:
        assert client.response() == (200, answer)
    assert client.response() == (200, b"ok")
    assert client.response() == (200, b"worker 2:")
    assert town[2].heard.messages == ["behind"]
    assert not town[1].channels


@pytest.mark.parametrize("how", ["client", "abort"])
def test_a_connection_that_ends_while_it_waits_to_go_home(town: Any, how: str) -> None:
    sid = town.connect(2).open()
    before = town.descriptors_count()
    client = town.connect(1)
    (channel,) = town[1].channels
    fill(town, client, channel)
    client.send(town.post(sid, b"4never"))
    town.until(lambda: channel not in town[1].channels)
    if how == "client":
        client.leave()
    else:
        for waiting in list(town[1].channels):
            waiting.abort("server stopped")
    town.until(lambda: not town[1].channels)
    client.leave()
    assert town[2].heard.messages == []
    assert town.descriptors_count() == before


def test_a_home_that_has_gone_while_a_connection_waited_for_its_client(town: Any) -> None:
    sid = town.connect(2).open()
    client = town.connect(1)
    (channel,) = town[1].channels
    answers = fill(town, client, channel)
    client.send(town.post(sid, b"4late"))
    town.until(lambda: channel not in town[1].channels)
    town[2].siblings.close()
    town.until(lambda: town[1].siblings.living == (3,))
    client.reading = True
    for answer in answers:
        assert client.response() == (200, answer)
    assert client.response()[0] == 400
    assert client.open().startswith("1.")


@pytest.mark.parametrize("transport", ["plain", "unix", "tls"])
def test_a_client_that_is_sent_home_again_and_again_holds_no_more_for_it(
    town: Any, contexts: Any, transport: str
) -> None:
    """Sessions of siblings that never were, each with a long answer behind it, and nothing is read."""
    hops_count, size = 16, 90_000
    if transport == "plain":
        client = town.connect(1)
    elif transport == "unix":
        client = town.connect_unix(1, "/run/shop.sock")
    else:
        client = connect_tls(town, 1, contexts)
        town.until(lambda: bool(town[1].channels))
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # the system takes little by itself
    (channel,) = town[1].channels
    before = most = town.descriptors_count()
    answers = fill(town, client, channel)
    for place in range(hops_count):
        forged = f"{2 + place % 2}.{'A' * 20}"
        client.send(
            town.get(f"EIO=4&transport=polling&sid={forged}")
            + b"GET /long/%d HTTP/1.1\r\nHost: a\r\n\r\n" % size
        )
        town.turn(10)
        most = max(most, town.descriptors_count())
    client.reading = True
    for answer in answers:
        assert client.response() == (200, answer)
    for place in range(hops_count):
        assert client.response()[0] == 400
        assert client.response() == (200, b"worker %d:" % (2 + place % 2) + b"x" * size)
        most = max(most, town.descriptors_count())
    # TLS is relayed, once: two ends of a socket pair, and a channel at each.
    assert most <= before + (2 if transport == "tls" else 0)
    open_count = sum(len(worker.channels) for worker in town.workers.values())
    assert open_count == (2 if transport == "tls" else 1)


def connect_tls(town: Any, index: int, contexts: Any) -> Any:
    return town.connect_tls(index, *contexts)


def test_tls_polls_and_posts_are_relayed(town: Any, contexts: Any) -> None:
    sid = connect_tls(town, 2, contexts).open()
    client = connect_tls(town, 1, contexts)
    for turn in range(20):
        assert client.post(sid, b"4%d" % turn) == (200, b"ok")
        assert client.poll(sid) == (200, b"4%d" % turn)
    assert [type(channel).__name__ for channel in town[1].channels] == ["Departing"]


def test_tls_a_relayed_connection_goes_on_without_a_chain(town: Any, contexts: Any) -> None:
    """The home passes its end of the socket pair on: one relay, however often the sessions change."""
    sids = {index: town.connect(index).open() for index in (2, 3)}
    client = connect_tls(town, 1, contexts)
    before = town.descriptors_count()
    for turn in range(30):
        for index in (2, 3):
            assert client.post(sids[index], b"4%d" % turn) == (200, b"ok")
            assert client.poll(sids[index]) == (200, b"4%d" % turn)
    assert town.descriptors_count() == before + 2
    assert client.open().startswith("3.")


def test_tls_a_websocket_is_relayed_with_its_early_frames(town: Any, contexts: Any) -> None:
    sid = connect_tls(town, 2, contexts).open()
    client, decoder = connect_tls(town, 1, contexts), town.frames_decoder()
    client.send(town.upgrade(sid) + town.frame("2probe") + town.frame("5") + town.frame("4early"))
    assert client.response()[0] == 101
    assert client.messages(2, decoder) == ["3probe", "4early"]
    text = "x" * 900_000
    client.send(town.frame("4" + text))
    assert client.messages(1, decoder) == ["4" + text]


@pytest.mark.parametrize("leaving", ["client", "home"])
def test_tls_closes_pass_both_ways(town: Any, contexts: Any, leaving: str) -> None:
    sid = connect_tls(town, 2, contexts).open()
    client, decoder = connect_tls(town, 1, contexts), town.frames_decoder()
    client.send(town.upgrade(sid) + town.frame("2probe") + town.frame("5"))
    assert client.response()[0] == 101
    assert client.messages(1, decoder) == ["3probe"]
    if leaving == "client":
        client.leave()
        town.until(lambda: town[2].heard.closed == ["transport close"])
    else:
        town[2].engine.close()
        assert client.messages(1, decoder) == ["closed"]
        client.send(b"\x88\x80mask")
        town.until(lambda: client.ended)
        client.leave()
    town.until(lambda: not town[1].channels)


def test_tls_a_killed_home_ends_the_relayed_connection(town: Any, contexts: Any) -> None:
    sid = connect_tls(town, 2, contexts).open()
    client = connect_tls(town, 1, contexts)
    assert client.post(sid, b"4x") == (200, b"ok")
    for channel in list(town[2].channels):
        channel.abort("killed")
    town.until(lambda: client.ended)
    client.leave()
    town.until(lambda: not town[1].channels)


def test_tls_back_pressure_passes_to_the_home(town: Any, contexts: Any) -> None:
    """A client that reads nothing: the home learns of it while the relay holds little."""
    sid = connect_tls(town, 2, contexts).open()
    client = connect_tls(town, 1, contexts)
    client.send(town.upgrade(sid) + town.frame("2probe") + town.frame("5"))
    assert client.response()[0] == 101
    town.until(lambda: town[2].heard.sessions[0].transport == "websocket")
    client.reading = False
    session = town[2].heard.sessions[0]
    (relayed,) = (channel for channel in town[1].channels if type(channel).__name__ == "Departing")
    sent_count = 0
    while session.writable and sent_count < 2_000:
        for kind in range(4):
            session.receive("4" + str(kind) * 20_000)
            sent_count += 1
        town.turn(3)
    assert not session.writable, "the home was never told"
    assert relayed._transport.queued_bytes < 1_000_000
    client.reading = True
    decoder = town.frames_decoder()
    assert len(client.messages(1 + sent_count, decoder)) == 1 + sent_count
    town.until(lambda: session.writable)


def test_tls_back_pressure_passes_to_the_client(town: Any, contexts: Any) -> None:
    """A home that does not read: the relay stops reading the client, and holds little."""
    sid = connect_tls(town, 2, contexts).open()
    client = connect_tls(town, 1, contexts)
    client.send(town.upgrade(sid) + town.frame("2probe") + town.frame("5"))
    assert client.response()[0] == 101
    town.until(lambda: town[2].heard.sessions[0].transport == "websocket")
    session = town[2].heard.sessions[0]
    session.pause_reading(True)
    (relayed,) = (channel for channel in town[1].channels if type(channel).__name__ == "Departing")
    for _ in range(1_000):
        client.send(town.frame("4" + "x" * 20_000))
        town.turn(1)
    assert client.unsent
    assert relayed._relay._other.queued_bytes < 1_000_000
    session.pause_reading(False)
    town.until(lambda: len(town[2].heard.messages) == 1_000)


def test_tls_a_stopping_worker_lets_its_relays_go_with_the_idle(town: Any, contexts: Any) -> None:
    sid = connect_tls(town, 2, contexts).open()
    client = connect_tls(town, 1, contexts)
    assert client.post(sid, b"4x") == (200, b"ok")
    for channel in list(town[1].channels):
        channel.refuse_keep_alive()
        channel.close_when_idle()
    town.until(lambda: client.ended)
    client.leave()
    town.until(lambda: not town[1].channels)


@pytest.mark.parametrize("kind", ["polling", "websocket"])
def test_a_session_that_would_begin_at_a_draining_worker_begins_at_one_that_stays(
    town: Any, kind: str
) -> None:
    for index in (1, 2):
        town[index].engine.close()
        town[index].siblings.announce_draining(3)
    town.until(lambda: town[1].siblings.likely_successor() == 3)
    client = town.connect(1)
    if kind == "polling":
        assert client.open().startswith("3.")
    else:
        client.send(town.upgrade())
        assert client.response()[0] == 101
        (opened,) = client.messages(1, town.frames_decoder())
        assert '"sid":"3.' in opened


def test_where_nobody_stays_a_session_does_not_begin(town: Any) -> None:
    for worker in town.workers.values():
        worker.engine.close()
        worker.siblings.announce_draining(None)
    town.until(lambda: town[1].siblings.likely_successor() is None)
    client = town.connect(1)
    assert client.ask(town.get("EIO=4&transport=polling")) == (503, b"")
    town.until(lambda: client.ended)
    assert town[1].heard.sessions == []


@pytest.mark.parametrize("payload", [b"", b"nonsense\nGET", b"[1]\n", b"{}\nGET / HTTP/1.1\r\n\r\n"])
def test_a_malformed_hand_over_is_reported_and_closes_its_descriptor(town: Any, payload: bytes) -> None:
    before = town.descriptors_count()
    ours, theirs = socket.socketpair()
    town[1].siblings.send(2, MessageKind.CONNECTION, payload, descriptor=theirs.detach())
    town.until(lambda: bool(town.faults))
    town.faults.clear()
    assert ours.recv(1) == b""
    ours.close()
    assert town.descriptors_count() == before


def test_a_hand_over_without_its_descriptor_is_told(town: Any) -> None:
    town[1].siblings.send(2, MessageKind.CONNECTION, b'["",""]\nGET / HTTP/1.1\r\n\r\n')
    town.until(lambda: bool(town[2].complaints))
    assert "without its descriptor" in town[2].complaints[0]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_connection_that_is_no_request_is_passed_on_as_well(town: Any, contexts: Any, tls: bool) -> None:
    """Itself, or where it speaks TLS, an end of its relay; what comes from it comes there."""
    client = connect_tls(town, 1, contexts) if tls else town.connect(1)
    town.until(lambda: bool(town[1].channels))
    [channel] = town[1].channels
    transport, passed = channel._transport, []
    channel._end_exchange("it is another's")
    channel._deadline.cancel()
    town[1].channels.clear()
    handler = town[1].homes.pass_on(
        transport, lambda sock: passed.append(("itself", sock)), lambda sock: passed.append(("relayed", sock))
    )
    [(how, sock)] = passed
    assert how == ("relayed" if tls else "itself")
    assert (handler is not None) is tls
    assert town[1].channels == ({handler} if tls else set())
    if handler is not None:
        transport.set_handler(handler)
    client.send(b"hello")
    sock.setblocking(False)
    heard = bytearray()

    def came() -> bool:
        try:
            heard.extend(sock.recv(100))
        except BlockingIOError:
            return False
        return heard == b"hello"

    town.until(came)
    sock.send(b"and back")
    town.until(lambda: client.received == b"and back")
    if handler is None:
        sock.close()
        return
    handler.abort("server stopped")  # both ends of the relay, at once
    town.turn()
    assert sock.recv(10) == b""
    sock.close()
    assert town[1].channels == set()
