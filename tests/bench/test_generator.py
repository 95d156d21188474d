"""The load generator's compression, long polling and open loop: real servers pass, wrong answers do not.

It must not measure anything worth quoting: runs are as short as a run can be.
"""

import os
import shutil
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.usefixtures("compiled"),
    pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset is not installed"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="cc is not installed"),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="the harness needs a core for each side"),
]

# Agrees on the extension as its second word says, and answers each message as its third one does.
DEFLATING = r"""
import socket, sys, threading, zlib
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of the generator's only key
extension, how = sys.argv[2:]
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))

def text_of(frame):
    at, length = 2, frame[1] & 127
    if length == 126:
        at, length = 4, int.from_bytes(frame[2:4], "big")
    mask, masked = frame[at:at + 4], frame[at + 4:at + 4 + length]
    deflated = bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))
    return zlib.decompress(deflated + b"\0\0\xff\xff\1\0\0\xff\xff", -15)

def frame(first, payload):
    length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    return bytes([first]) + length + payload

def deflated(text):
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    return (stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]

def serve(client):
    if not client.recv(65536):
        return
    client.send(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n")
    client.send((f"Sec-WebSocket-Extensions: {extension}\r\n" if extension else "").encode() + b"\r\n")
    while message := client.recv(65536):
        text = text_of(message)
        client.send({
            "right": lambda: frame(0xC1, deflated(text)),
            "wrong": lambda: frame(0xC1, deflated(text[::-1])),
            "plain": lambda: frame(0x81, text),
            "broken": lambda: frame(0xC1, b"\xff\xff\xff\xff"),
        }[how]())

while True:
    threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
"""
# Engine.IO by long polling alone; all events of a POST come back in one payload.
POLLED = r"""
import queue, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
how, sessions = sys.argv[2], {}

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def answer(self, body):
        self.send_response(400 if how == "refusing" else 200)
        if how == "closing":
            self.send_header("Connection", "close")
        if how != "chunked":
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(body), 7):
            part = body[at:at + 7]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def sid(self):
        return self.path.partition("&sid=")[2]

    def do_GET(self):
        if not self.sid():
            sid = str(len(sessions))
            sessions[sid] = queue.Queue()
            self.answer(b'0{"sid":"%s","upgrades":[]}' % sid.encode())
        else:
            self.answer(sessions[self.sid()].get())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"40":
            body = b'2\x1e6\x1e40{"sid":"x"}'
        if how == "wrong":
            body = body.replace(b"Ada", b"Bob")
        if how == "ending":
            body = body.replace(b'42["echo"', b'1')
        packets = [packet for packet in body.split(b"\x1e") if packet != b"3"]  # a pong may come with events
        if packets:
            sessions[self.sid()].put(b"\x1e".join(packets))
        self.answer(b"ok")

ThreadingHTTPServer.request_queue_size = 100
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
# Echoes bytes, and once does nothing for a while.
STALLING = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = listener.accept()
    count = 0
    while data := client.recv(65536):
        client.sendall(data)
        count += 1
        if count == 5:
            time.sleep(0.4)
"""
AGREED = "permessage-deflate; server_no_context_takeover"


def measured(harness: Any, server: Any, scenario: Any, seconds: float = 0.2) -> Any:
    """A run in which somebody answered: on a busy machine nobody may for a moment. Or the last of twenty."""
    settings, run = Namespace(seconds=seconds, warmup_seconds=0.0, unpinned=True), {}
    for _ in range(20):
        run = harness.run._measure(server, scenario, 1, settings)
        if "not one answer" not in run.get("error", ""):
            break
    return run


def stub(harness: Any, job: str, code: str, *words: str) -> Any:
    peers = harness.peers
    path = peers.POLLING_PATH if job == "polling" else "/"
    launch = peers.Launch(("{python}", "-c", code, "{port}", *words), path)
    launch = replace(launch, command=("{python}", harness.environment.BUILD / "stub.py", "{port}", *words))
    (harness.environment.BUILD / "stub.py").write_text(code)
    launch = replace(launch, command=tuple(map(str, launch.command)))
    return peers.Server("stub", peers.Kind.FLOOR, {harness.scenarios.Job(job): launch})


def small(harness: Any, name: str, connections: int = 2, in_flight: int = 1, **changed: Any) -> Any:
    scenario = harness.scenarios.SCENARIOS[name]
    return replace(scenario, connections=connections, in_flight=in_flight, least_seconds=0.0, **changed)


@pytest.mark.parametrize("name", ["ZE128", "ZE4096"])
def test_ours_compresses_every_echo(harness: Any, name: str) -> None:
    run = measured(harness, harness.peers.SERVERS["ours"], small(harness, name))
    result = run["result"]
    assert result["messages"] > 0
    assert result["uncompressed"] == 0
    assert AGREED in result["deflate"]


@pytest.mark.parametrize("name", ["LP", "LPB"])
def test_ours_is_polled(harness: Any, name: str) -> None:
    in_flight = 4 if name == "LP" else 1
    run = measured(harness, harness.peers.SERVERS["ours"], small(harness, name, 8, in_flight), 0.5)
    assert run["result"]["messages"] > 0, run
    assert run["result"]["latency_us"]["p50"] > 0
    assert run["result"]["connections"] == 8


@pytest.mark.parametrize("name", ["OE", "OHV", "OS2"])
def test_an_open_loop_has_its_rate(harness: Any, name: str) -> None:
    """Nobody is asked more than what falls due; some of that fell due before the window."""
    scenario = small(harness, name, 4, rate=200.0)
    result = measured(harness, harness.peers.SERVERS["ours"], scenario, 0.5)["result"]
    assert result["rate"] == 200.0
    assert 0 < result["messages"] < 200 * (result["seconds"] + 5)  # one by one it would be many thousands
    assert "late_us" in result


def test_workers_that_come_later_count_as_well(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator was told of the supervisor alone."""
    early = harness.peers.SERVERS["ours-2-workers-early"]
    running = harness.run.running_server

    @contextmanager
    def watched(*words: Any) -> Iterator[list[int]]:
        with running(*words) as pids:
            yield pids[:1]

    monkeypatch.setattr(harness.run, "running_server", watched)
    run = measured(harness, early, small(harness, "W2", 8, 4), 0.5)
    assert run["result"]["messages"] > 0, run
    assert run["result"]["server_cpu_seconds"] > 0
    assert run["result"]["processes"] > 1  # of the others one at least has answered


@pytest.mark.parametrize(
    ("extension", "how", "said"),
    [
        ("", "right", "no permessage-deflate"),
        ("permessage-deflate", "right", "without the server's context"),
        (AGREED, "wrong", "a wrong answer"),
        (AGREED, "broken", "does not inflate"),
    ],
)
def test_what_was_not_agreed_on_or_differs_is_refused(
    harness: Any, extension: str, how: str, said: str
) -> None:
    server = stub(harness, "deflate-echo", DEFLATING, extension, how)
    assert said in measured(harness, server, small(harness, "ZE128"))["error"]


@pytest.mark.parametrize("how", ["right", "plain"])
def test_what_comes_back_uncompressed_is_counted(harness: Any, how: str) -> None:
    server = stub(harness, "deflate-echo", DEFLATING, AGREED, how)
    result = measured(harness, server, small(harness, "ZE128"))["result"]
    assert result["deflate"] == AGREED
    assert result["uncompressed"] == (result["messages"] if how == "plain" else 0)


@pytest.mark.parametrize("how", ["whole", "chunked", "closing"])
def test_payloads_of_several_packets_in_any_body(harness: Any, how: str) -> None:
    server = stub(harness, "polling", POLLED, how)
    run = measured(harness, server, small(harness, "LP", in_flight=4))
    assert run["result"]["messages"] > 0, run
    assert run["result"]["out_of_order"] == 0


@pytest.mark.parametrize(
    ("how", "said"), [("wrong", "a wrong answer"), ("ending", "a wrong answer"), ("refusing", "400")]
)
def test_a_wrong_packet_of_long_polling_is_refused(harness: Any, how: str, said: str) -> None:
    server = stub(harness, "polling", POLLED, how)
    assert said in measured(harness, server, small(harness, "LP"))["error"]


def test_whoever_falls_due_during_a_stall_has_waited(harness: Any) -> None:
    """A closed loop has one slow answer there; here most messages of the window fall due in it."""
    scenario = small(harness, "OS2", connections=1, rate=1000.0)
    result = measured(harness, stub(harness, "bytes", STALLING), scenario, 0.45)["result"]
    assert result["latency_us"]["p50"] > 50_000
    assert result["latency_us"]["p90"] > 200_000


def test_the_slowest_server_sets_the_rate(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    capacities = {"ours": 1000.0, "picows": None, "node-ws": 500.0}

    def measure(server: Any, scenario: Any, number: int, _: Namespace) -> dict[str, Any]:
        assert not scenario.share_of_slowest
        found = capacities[server.name]
        return {"error": "ended"} if found is None else {"result": {"per_second": found}}

    scenario = harness.scenarios.SCENARIOS["OS2"]
    servers = [harness.peers.SERVERS[name] for name in capacities]
    with monkeypatch.context() as patch:
        patch.setattr(harness.run, "_measure", measure)
        assert harness.run._at_one_rate(scenario, servers, 1, Namespace()).rate == 350.0
        nobody = harness.run._at_one_rate(scenario, servers[1:2], 1, Namespace())
    run = measured(harness, harness.peers.SERVERS["ours"], nobody)
    assert "no rate" in run["error"]


def test_a_library_that_is_missing_is_named(
    harness: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = harness.environment
    broken = {
        what: (("-lno_such_library",) if "zlib" in what else with_it, without)
        for what, (with_it, without) in environment.OPTIONAL.items()
    }
    for name, value in (("GENERATOR", tmp_path / "one"), ("OPTIONAL", broken)):
        monkeypatch.setattr(environment, name, value)
    (missing,) = environment.compile_c()
    assert missing.startswith("ZE, ZB")
    run = measured(harness, harness.peers.SERVERS["ours"], small(harness, "ZE128"))
    assert "without zlib" in run["error"]
