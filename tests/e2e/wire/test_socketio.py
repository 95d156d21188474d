"""Socket.IO 5 by raw bytes over both transports: each numbered rule of the protocol by its name.

It must not know how the packets are carried: `session.send` and `session.next` are the whole wire.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

PLACE = '{"_placeholder":true,"num":%d}'


def test_2_1_packets_are_spelt_as_the_grammar_says(wire: Any, way: str) -> None:
    session = wire.session(way)
    session.send('40{"key":"s3"}')
    assert session.next().startswith('40{"sid":"')
    assert session.next() == '42["welcome",{"auth":{"key":"s3"}}]'
    session.send('40/shop,{"key":"s3"}')
    assert session.next().startswith('40/shop,{"sid":"')
    assert session.next() == '42/shop,["opened","/shop"]'
    session.send('42/shop,17["buy","tea"]', '42017["nothing"]', '42["echo",1]')
    assert [session.next() for _ in range(3)] == ['43/shop,17["tea"]', "4317[]", '42["echoed",1]']
    session.send(f'451-/shop,8["buy",{PLACE % 0}]', b"tea")
    assert [session.next(), session.next()] == [f"461-/shop,8[{PLACE % 0}]", b"tea"]
    session.send("41/shop", "40/shop")
    assert session.next().startswith('40/shop,{"sid":"')


def test_2_2_rule_1_connect_is_answered_before_any_event(wire: Any, way: str) -> None:
    session = wire.session(way)
    session.send('40{"key":"s3"}')
    reply = session.next()
    assert set(json.loads(reply[2:])) == {"sid"}
    assert session.next() == '42["welcome",{"auth":{"key":"s3"}}]'


def test_2_2_rule_1_each_namespace_has_a_sid_of_its_own(wire: Any, way: str) -> None:
    session = wire.session(way)
    session.send("40")
    first = json.loads(session.next()[2:])["sid"]
    session.next()
    session.send("40/shop,")
    reply = session.next()
    assert reply.startswith("40/shop,{")
    assert session.next() == '42/shop,["opened","/shop"]'
    assert len({first, json.loads(reply[8:])["sid"], session.sid}) == 3


def test_2_2_rule_1_a_refusal_carries_message_and_data(wire: Any, way: str) -> None:
    session = wire.session(way)
    session.send('40{"token":"wrong"}')
    assert session.next() == '44{"message":"no entry","data":{"code":7}}'


def test_2_2_rule_1_an_unknown_namespace(wire: Any, way: str) -> None:
    session = wire.session(way)
    session.send("40/x,")
    assert session.next() == '44/x,{"message":"Invalid namespace"}'
    session.send("40/shop?token=a,")
    assert session.next() == '44/shop?token=a,{"message":"Invalid namespace"}'


@pytest.mark.parametrize("packet", ['40["a"]', '40"text"', "40null", "40{"])
def test_2_2_rule_2_auth_is_an_object_or_nothing(wire: Any, way: str, packet: str) -> None:
    session = wire.session(way)
    session.send(packet)
    assert session.ended()


def test_2_2_rule_3_a_second_connect_closes(wire: Any, way: str) -> None:
    session = wire.joined(way)
    session.send("40")
    assert session.ended()


@pytest.mark.parametrize("packet", ['42["echo"]', "41", "430[]", '42/shop,["buy","tea"]'])
def test_2_2_rule_4_anything_but_connect_before_it_closes(wire: Any, way: str, packet: str) -> None:
    session = wire.session(way)
    session.send(packet)
    assert session.ended()


def test_2_2_rule_5_who_joins_nothing_in_time_is_sent_away(start: Any) -> None:
    """On both transports at once."""
    wire = start(connect_timeout=5.0)
    ways = ("polling", "websocket")
    sessions, others = [wire.session(way) for way in ways], [wire.joined(way) for way in ways]
    for session in sessions:
        session.send("40/nowhere,")
        assert session.next() == '44/nowhere,{"message":"Invalid namespace"}'
    for session in sessions:
        assert session.ended()
    for other in others:
        other.send('42["echo",1]')
        assert other.next() == '42["echoed",1]'


@pytest.mark.parametrize(
    "event",
    [
        '["connect",{},{"who":"ROOT"}]',
        '["disconnect","x"]',
        '["connect_error"]',
        '["disconnecting"]',
        '["newListener"]',
        '["removeListener"]',
        "[]",
        "{}",
        "",
        '[{"a":1}]',
        "[null]",
    ],
)
def test_2_2_rule_6_reserved_and_malformed_events_run_nothing(wire: Any, way: str, event: str) -> None:
    session = wire.joined(way)
    session.send("42" + event)
    assert session.ended()
    wire.wait_gone(session, "parse error")
    assert wire.calls(session) == ["connect", "disconnect"]


@pytest.mark.parametrize("name", ["7", "1.5", '""', '"nobody handles this"', '"message"'])
def test_2_2_rule_6_a_number_or_an_unknown_name_is_an_event_without_a_handler(
    wire: Any, way: str, name: str
) -> None:
    session = wire.joined(way)
    session.send(f'42[{name},"x"]', '42["echo",1]')
    assert session.next() == '42["echoed",1]'


def test_2_2_rule_7_acks_both_ways(wire: Any, way: str) -> None:
    session = wire.joined(way)
    session.send('4217["echo",1,"a"]')
    assert [session.next(), session.next()] == ['42["echoed",1,"a"]', '4317[1,"a"]']
    session.send('42["ask","why"]')
    question = session.next()
    assert question.endswith('["question","why"]')
    session.send(f'43{question[2 : question.index("[")]}["because",2]')
    assert session.next() == '42["answered","because",2]'


def test_2_2_rule_7_an_unknown_ack_is_ignored_and_ids_stay_integers(wire: Any, way: str) -> None:
    session = wire.joined(way)
    session.send("4399999[]", "42" + "9" * 60 + '["nothing"]')
    assert session.next() == "43" + "9" * 60 + "[]"


def test_2_2_rule_7_an_ack_counts_once(wire: Any, way: str) -> None:
    session = wire.joined(way)
    session.send('42["ask","why"]')
    question = session.next()
    ack = f"43{question[2 : question.index('[')]}"
    session.send(ack + '["first"]', ack + '["second"]', '42["echo",1]')
    assert [session.next(), session.next()] == ['42["answered","first"]', '42["echoed",1]']


@pytest.mark.parametrize("packet", ["42" + "9" * 101 + '["echo"]', "43" + "9" * 101 + "[]", "43[]", "431{}"])
def test_2_2_rule_7_ids_are_bounded_and_acks_well_formed(wire: Any, way: str, packet: str) -> None:
    session = wire.joined(way)
    session.send(packet)
    assert session.ended()


def test_2_2_rule_7_ids_are_apart_in_each_namespace(wire: Any, way: str) -> None:
    session = wire.joined(way)
    session.send("40/shop,")
    assert [session.next()[:9], session.next()] == ["40/shop,{", '42/shop,["opened","/shop"]']
    session.send('42/shop,1["buy","tea"]')
    assert session.next() == '43/shop,1["tea"]'
    session.send('421["nothing"]')
    assert session.next() == "431[]"


def test_2_2_rule_8_no_handler_no_ack_and_no_value_is_an_empty_array(wire: Any, way: str) -> None:
    session = wire.joined(way)
    session.send('421["nobody handles this"]', '422["nothing"]')
    assert session.next() == "432[]"


def test_2_2_rule_9_binary_events_and_acks_keep_their_attachments(wire: Any, way: str) -> None:
    session = wire.joined(way)
    session.send(f'452-7["echo",{PLACE % 0},{{"b":{PLACE % 1}}}]', b"\x01", b"")
    for prefix in (f'452-["echoed",{PLACE % 0},', f"462-7[{PLACE % 0},"):
        assert session.next() == prefix + f'{{"b":{PLACE % 1}}}]'
        assert [session.next(), session.next()] == [b"\x01", b""]


@pytest.mark.parametrize(
    "packets",
    [
        [b"stray"],
        [f'451-["echo",{PLACE % 0}]', '42["echo"]'],
        [f'451-["echo",{PLACE % 1}]', b"x"],
        [f'452-["echo",{PLACE % 0},{PLACE % 0}]', b"x", b"y"],
        ['451-["echo"]', b"x"],
        ['450-["echo"]'],
        ['4511-["echo"]'],
        ['45["echo"]'],
        ['451-["connect",' + PLACE % 0 + "]", b"x"],
    ],
)
def test_2_2_rule_9_attachments_that_do_not_fit_close(wire: Any, way: str, packets: list[Any]) -> None:
    session = wire.joined(way)
    session.send(*packets)
    assert session.ended()
    wire.wait_gone(session, "parse error")
    assert wire.calls(session) == ["connect", "disconnect"]


def test_2_2_rule_9_attachments_are_bounded_in_bytes(start: Any, way: str) -> None:
    """Together; each alone would be allowed by an option that allows large messages."""
    wire = start(max_http_buffer_size=20_000_000)
    session = wire.joined(way)
    session.send(f'452-["echo",{PLACE % 0},{PLACE % 1}]', b"x" * 9_000_000)
    session.send(b"y" * 9_000_000)
    assert session.ended()
    wire.wait_gone(session, "parse error")


def test_2_2_rule_9_attachments_are_bounded_in_time(start: Any, way: str) -> None:
    wire = start(attachments_timeout=0.3)
    session, other = wire.joined(way), wire.joined(way)
    began = time.monotonic()
    session.send(f'452-["echo",{PLACE % 0},{PLACE % 1}]', b"x")
    assert session.ended()
    assert time.monotonic() - began >= 0.3
    wire.wait_gone(session, "parse error")
    other.send('42["echo",1]')
    assert other.next() == '42["echoed",1]'


def test_2_2_rule_9_attachments_may_come_one_by_one(wire: Any, way: str) -> None:
    session = wire.joined(way)
    session.send(f'452-["echo",{PLACE % 0},{PLACE % 1}]')
    session.send(b"x")
    session.send(b"y")
    assert [session.next() for _ in range(3)] == [f'452-["echoed",{PLACE % 0},{PLACE % 1}]', b"x", b"y"]


def test_2_2_rule_10_the_frames_of_one_packet_stay_together(wire: Any, way: str) -> None:
    session = wire.joined(way)
    for number in range(30):
        session.send(f'452-["echo",{PLACE % 0},{PLACE % 1}]', bytes([number]), b"x", f'42["echo",{number}]')
    for number in range(30):
        assert session.next() == f'452-["echoed",{PLACE % 0},{PLACE % 1}]'
        assert [session.next(), session.next()] == [bytes([number]), b"x"]
        assert session.next() == f'42["echoed",{number}]'


@pytest.mark.parametrize("leave", ["41/shop", "41/shop,"])
def test_2_2_rule_11_a_namespace_is_left_without_a_reply(wire: Any, way: str, leave: str) -> None:
    session = wire.joined(way)
    session.send("40/shop,")
    assert [session.next()[:9], session.next()] == ["40/shop,{", '42/shop,["opened","/shop"]']
    session.send(leave, '42["echo",1]')
    assert session.next() == '42["echoed",1]'
    session.send(leave)
    assert session.ended()


def test_2_2_rule_11_the_transport_stays_up_after_the_last_namespace(small: Any, way: str) -> None:
    session = small.joined(way)
    session.send("41")
    assert session.next_raw() == "2"
    session.send("3", "40")
    assert str(session.next()).startswith("40{")


def test_2_2_rule_11_a_connect_error_from_a_client_closes(wire: Any, way: str) -> None:
    session = wire.joined(way)
    session.send('44{"message":"x"}')
    assert session.ended()


@pytest.mark.parametrize(
    "packet", ["4", "49", "4abc", '42["a"', '42["a",NaN]', '42["a"]x', "42" + "[" * 5000]
)
def test_2_2_rule_12_malformed_packets_close(wire: Any, way: str, packet: str) -> None:
    session = wire.joined(way)
    session.send(packet)
    assert session.ended()


def test_2_2_rule_13_a_placeholder_in_a_plain_event_is_data(wire: Any, way: str) -> None:
    session = wire.joined(way)
    session.send(f'42["echo",{PLACE % 0}]')
    assert session.next() == f'42["echoed",{PLACE % 0}]'


def test_4_one_session_from_polling_to_websocket_in_bytes(wire: Any) -> None:
    session = wire.session("polling")
    session.send('40{"key":"s3"}')
    assert session.posted.text == "ok"
    reply, event = session.next(), session.next()
    assert reply.startswith('40{"sid":"')
    assert event == '42["welcome",{"auth":{"key":"s3"}}]'
    held = wire.poll(session.sid)
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe")
    assert websocket.next_raw() == "3probe"
    assert held.answer().text == "6"
    websocket.send("5", '421["echo",2,3]')
    assert [websocket.next_raw(), websocket.next_raw()] == ['42["echoed",2,3]', "431[2,3]"]
    websocket.send(f'451-["echo",{PLACE % 0}]', b"\x89PN")
    assert [websocket.next_raw(), websocket.next_raw()] == [f'451-["echoed",{PLACE % 0}]', b"\x89PN"]
    websocket.send("41", "1")
    assert websocket.next_raw() is None
    assert wire.poll(session.sid).answer().code == 1


def test_one_clients_events_run_in_order_beside_anothers_without_a_thread_each(start: Any, way: str) -> None:
    """R30: 1,000 events of ten clients, by no more threads than there are clients."""
    wire = start()
    sessions = [wire.joined(way) for _ in range(10)]
    for session in sessions:
        session.send(*[f'42["echo",{number}]' for number in range(100)])
    for session in sessions:
        assert [session.next() for _ in range(100)] == [f'42["echoed",{number}]' for number in range(100)]
    wsframe = str(Path(sys.executable).with_name("wsframe"))
    command = [wsframe, *f"status --json --during 0 --timeout 60 --port {wire.port}".split()]
    said = subprocess.run(command, capture_output=True, check=True).stdout
    (worker,) = json.loads(said)["workers"]
    assert 1 <= worker["pools"]["event-threads"]["threads_count"] <= len(sessions)


def test_one_clients_fault_is_not_anothers(wire: Any, way: str) -> None:
    other, session = wire.joined(way), wire.joined(way)
    session.send("4broken")
    assert session.ended()
    other.send('42["echo",1]')
    assert other.next() == '42["echoed",1]'
