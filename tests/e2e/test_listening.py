"""Every way of listening, TLS and proxies, asked from outside; the configurations of the deployment page.

Rows of the servers' table: R39 R54 R62 R63 R67. It must not know the server's code.
"""

import asyncio
import http.client
import json
import resource
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.client import connect as connect_alone
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect, unix_connect

from outside_tools import outside_tool
from own_nginx import Nginx
from running_program import RunningProgram

APPS = Path(__file__).parent / "apps"
DOCS = Path(__file__).resolve().parents[2] / "docs"
DEPLOYMENT = [
    DOCS / "deployment.md",
    *(DOCS / "how-to" / f"{name}.md" for name in ("nginx", "systemd", "tls")),
]
PATIENCE_SECONDS = 60.0
# systemd-socket-activate's protocol in three lines: descriptor 3 is the socket, LISTEN_PID is our own.
LAUNCHER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3);"
    "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
    "os.execv(sys.executable, [sys.executable, '-m', 'python_server', *sys.argv[2:]])"
)


class Program(RunningProgram):
    """A server, with the addresses of its start line."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None, **options: Any) -> None:
        super().__init__(command, APPS, env, **options)

    def urls(self) -> list[str]:
        """The addresses in the start line."""
        self.wait_for("; stop with Ctrl+C)\n")
        line = next(line for line in self.log.splitlines() if "listening on " in line)
        return line.partition("listening on ")[2].partition(" (process")[0].split(", ")


Start = Callable[..., Program]

SOCKET_IO = [sys.executable, "-m", "python_server", "events_app:app"]


@pytest.fixture
def start() -> Iterator[Start]:
    """start("-b", ...) serves listening_app; each server must end with 0, without a traceback."""
    running: list[Program] = []

    def begin(*arguments: str, command: list[str] | None = None, **options: Any) -> Program:
        if command is None:
            command = [sys.executable, "-m", "python_server", "listening_app:app"]
        program = Program([*command, *arguments], **options)
        running.append(program)
        return program

    yield begin
    for program in running:
        assert program.stop() == 0, program.log
        assert "Traceback" not in program.log


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    issued = authority.issue_cert("localhost", "127.0.0.1", "shop.example")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem", append=True)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return folder


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def tls_options(certificate: Path) -> list[str]:
    return ["--ssl-certfile", str(certificate / "cert.pem"), "--ssl-keyfile", str(certificate / "key.pem")]


def address(url: str) -> tuple[str, int]:
    host, _, port = url.partition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def ask(sock: socket.socket, path: str = "/", **headers: str) -> dict[str, Any]:
    """One request over a connected socket; what the application was told."""
    with sock:
        sock.settimeout(PATIENCE_SECONDS)
        fields = {"Host": "inner.example", "Connection": "close", **headers}
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        sock.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert answer.status == 200
        told: dict[str, Any] = json.loads(answer.read())
        answer.close()
        return told


def reach(url: str) -> socket.socket:
    """A connection to an address of the start line."""
    if url.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(url.removeprefix("unix:"))
        return sock
    return socket.create_connection(address(url), PATIENCE_SECONDS)


# Addresses


def test_several_binds_are_served_and_named_r39_r62_r63(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    program = start(
        "-b", "127.0.0.1:0", "-b", "[::1]:0", "-b", f"unix:{path}", "--uds-permissions", "660"
    )  # fmt: skip
    urls = program.urls()
    assert [url.rpartition(":")[0] for url in urls] == ["http://127.0.0.1", "http://[::1]", "unix"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    for url, host in zip(urls, ("127.0.0.1", "::1", "localhost"), strict=True):
        told = ask(reach(url))
        assert told["SERVER_NAME"] == host
        assert told["SERVER_PORT"] == ("80" if url.startswith("unix:") else str(address(url)[1]))
        assert told["HTTP_HOST"] == "inner.example"
    with unix_connect(str(path), "ws://localhost/echo", open_timeout=PATIENCE_SECONDS) as websocket:
        websocket.send("over a file")
        assert websocket.recv(PATIENCE_SECONDS) == "over a file"
    assert program.stop() == 0
    assert not path.exists()


def test_an_address_that_is_none_ends_with_one_line() -> None:
    """R54."""
    for arguments in (["-b", "nonsense:"], ["--fd", "99"], ["-b", "unix:/nosuch/folder/s.sock"]):
        done = subprocess.run(
            [sys.executable, "-m", "python_server", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.startswith("Error: cannot listen on ")
        assert done.stderr.count("\n") == 1


def test_an_inherited_descriptor(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number = sock.fileno()
        program = start("--fd", str(number), pass_fds=[number])
        assert program.urls() == [f"http://127.0.0.1:{sock.getsockname()[1]}"]
        assert ask(socket.create_connection(sock.getsockname()))["wsgi.url_scheme"] == "http"


# systemd


def read_states(manager: socket.socket, count: int) -> list[str]:
    manager.settimeout(PATIENCE_SECONDS)
    return [manager.recv(4096).decode().splitlines()[0] for _ in range(count)]


def test_activation_and_notification(start: Start, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as sock,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(str(tmp_path / "notify"))
        number = sock.fileno()
        program = start(
            "listening_app:app",
            "--port",
            "1",  # never bound: what systemd passes goes first
            command=[sys.executable, "-c", LAUNCHER, str(number)],
            pass_fds=[number],
            env={"NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        assert program.urls() == [f"http://127.0.0.1:{sock.getsockname()[1]}"]
        assert read_states(manager, 1) == ["READY=1"]
        assert ask(socket.create_connection(sock.getsockname()))["PATH_INFO"] == "/"
        program.signal(signal.SIGHUP)
        assert read_states(manager, 2) == ["RELOADING=1", "READY=1"]
        assert program.stop() == 0
        assert read_states(manager, 1) == ["STOPPING=1"]


def test_the_documented_unit_runs_under_systemd_socket_activate(start: Start, tmp_path: Path) -> None:
    tool = outside_tool("systemd-socket-activate")
    unit = documented("ini", "# shop.service")
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    arguments = line.partition(" serve shop:app ")[2].split()
    path = tmp_path / "shop.sock"
    command = [tool, "-l", str(path), sys.executable, "-m", "python_server", "listening_app:app"]
    program = start(*arguments, command=command)
    program.wait_for("Listening on ")
    told = ask(reach(f"unix:{path}"), X_Forwarded_For="192.0.2.7", X_Forwarded_Proto="https")
    assert (told["REMOTE_ADDR"], told["wsgi.url_scheme"]) == ("192.0.2.7", "https")
    assert program.urls() == [f"unix:{path}"]
    assert program.stop() == 0
    assert path.exists()  # it is systemd's, not ours


def test_the_documented_units_are_well_formed(tmp_path: Path) -> None:
    tool = outside_tool("systemd-analyze")
    service = documented("ini", "# shop.service").replace("/srv/shop/venv/bin/wsframe", "/bin/true")
    (tmp_path / "shop.service").write_text(service.replace("User=shop", "User=root"))
    (tmp_path / "shop.socket").write_text(documented("ini", "# shop.socket"))
    done = subprocess.run(
        [tool, "verify", "--man=no", str(tmp_path / "shop.service"), str(tmp_path / "shop.socket")],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "shop." in line]
    assert not said, done.stderr


# Limits


def test_out_of_descriptors_the_server_comes_back_r67(start: Start) -> None:
    def few_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    program = start("--port", "0", preexec_fn=few_descriptors)
    place = address(program.urls()[0])
    crowd = [socket.create_connection(place) for _ in range(60)]
    program.wait_for("no new connections for a moment: Too many open files")
    for sock in crowd:
        sock.close()
    assert ask(socket.create_connection(place))["PATH_INFO"] == "/"
    assert program.log.count("no new connections") == 1


def test_at_the_limit_of_connections_newcomers_wait_r67(start: Start) -> None:
    patience = ["--set", f"connections_wait_seconds={PATIENCE_SECONDS}"]
    program = start("--port", "0", "--limit-concurrency", "2", *patience)
    place = address(program.urls()[0])
    first, second = (http.client.HTTPConnection(*place, timeout=PATIENCE_SECONDS) for _ in range(2))
    for connection in (first, second):
        connection.request("GET", "/")
        connection.getresponse().read()
    program.wait_for("2 connections are open: new ones wait, see --limit-concurrency")
    third = socket.create_connection(place)
    answers: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(third)))
    waiting.start()
    second.request("GET", "/still-served")  # what is open goes on
    assert json.loads(second.getresponse().read())["PATH_INFO"] == "/still-served"
    assert answers == []
    first.close()
    waiting.join(PATIENCE_SECONDS)
    assert len(answers) == 1
    second.close()


# TLS


def test_https_and_wss(start: Start, certificate: Path, trusting: ssl.SSLContext) -> None:
    """R54."""
    program = start("--port", "0", *tls_options(certificate))
    url = program.urls()[0]
    assert url.startswith("https://127.0.0.1:")
    told = ask(trusting.wrap_socket(reach(url), server_hostname="localhost"))
    assert told["wsgi.url_scheme"] == "https"
    place = url.replace("https://127.0.0.1", "localhost")
    sizes = (0, 125, 70_000, 1_000_000)
    echo_over_tls(f"wss://{place}/echo", sizes, ssl=trusting, origin=f"https://{place}")
    with pytest.raises(InvalidStatus, match="403"):  # the page would come from plain HTTP
        echo_over_tls(f"wss://{place}/echo", (), ssl=trusting, origin=f"http://{place}")


def echo_over_tls(url: str, sizes: tuple[int, ...], **options: Any) -> None:
    """With the client of one thread: the synchronous one reads and writes one TLS object in two threads, see
    test_socket_io_over_tls."""

    async def talk() -> None:
        async with connect_alone(url, open_timeout=PATIENCE_SECONDS, **options) as websocket:
            for size in sizes:
                await websocket.send("x" * size)
                assert await asyncio.wait_for(websocket.recv(), PATIENCE_SECONDS) == "x" * size

    asyncio.run(talk())


def test_curl_speaks_to_both_kinds_of_port(start: Start, certificate: Path) -> None:
    curl = outside_tool("curl")

    def fetch(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [curl, "-sS", "--noproxy", "*", "--max-time", str(PATIENCE_SECONDS), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    secure, plain = start("--port", "0", *tls_options(certificate)), start("--port", "0")
    secure_port, plain_port = address(secure.urls()[0])[1], address(plain.urls()[0])[1]
    trust = ("--cacert", str(certificate / "ca.pem"))
    status, said = fetch(*trust, f"https://localhost:{secure_port}/")
    assert status == 0
    assert json.loads(said)["wsgi.url_scheme"] == "https"
    status, said = fetch("-i", f"http://localhost:{secure_port}/")
    assert status == 0
    assert said.startswith("HTTP/1.1 400 Bad Request")
    assert said.endswith("This port speaks TLS: use https.\n")
    secure.wait_for("a client spoke plain text to the TLS port")
    status, said = fetch(*trust, f"https://localhost:{plain_port}/")
    assert status == 35  # curl: the TLS handshake failed
    plain.wait_for('"-" 400')


def test_a_tls_hello_on_the_plain_port_is_answered_and_closed(start: Start, trusting: ssl.SSLContext) -> None:
    program = start("--port", "0")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    with reach(program.urls()[0]) as sock:
        sock.settimeout(PATIENCE_SECONDS)
        sock.sendall(outgoing.read())
        answer = b"".join(iter(lambda: sock.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer
    program.wait_for('"-" 400')
    lines = [line for line in program.log.splitlines() if "listening on" not in line]
    assert len(lines) == 1


def test_an_unmodified_flask_sock_program_speaks_wss(
    start: Start, certificate: Path, trusting: ssl.SSLContext
) -> None:
    command = [sys.executable, "-m", "python_server", "sock_app:app", "--port", "0"]
    program = start(*tls_options(certificate), command=command)
    port = address(program.urls()[0])[1]
    # Its own socket stands for records it never sees.
    echo_over_tls(f"wss://localhost:{port}/echo", (1, 70_000), ssl=trusting)


def test_socket_io_over_tls(start: Start, certificate: Path, drive: Callable[..., None]) -> None:
    """With the official client: python-socketio's reads and writes one TLS object from two threads at once:
    under load what it sent did not always arrive (seen from the server: the frame never came)."""
    program = start("--port", "0", *tls_options(certificate), command=SOCKET_IO)
    port = address(program.urls()[0])[1]
    drive("tls4.mjs", f"https://localhost:{port}", str(certificate / "ca.pem"))


def test_client_certificates(
    start: Start, certificate: Path, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    ca = ["--ssl-ca-certs", str(certificate / "ca.pem"), "--ssl-cert-reqs", "required"]
    program = start("--port", "0", *tls_options(certificate), *ca)
    url = program.urls()[0]
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        ask(trusting.wrap_socket(reach(url), server_hostname="localhost"))
    program.wait_for("the TLS handshake failed: peer did not return a certificate")
    authority.issue_cert("client@shop.example").configure_cert(trusting)
    assert ask(trusting.wrap_socket(reach(url), server_hostname="localhost"))["PATH_INFO"] == "/"


@pytest.mark.parametrize("check", [[], ["--check-config"]])
def test_a_certificate_that_cannot_be_used_ends_with_one_line(certificate: Path, check: list[str]) -> None:
    for options, words in [
        (
            ["--ssl-certfile", "/nosuch.pem"],
            "cannot read /nosuch.pem (--ssl-certfile): No such file or directory [certificate]",
        ),
        (["--ssl-certfile", __file__], f"cannot use the certificate {__file__}: "),
        (["--ssl-keyfile", str(certificate / "key.pem")], "but no certificate"),
    ]:
        done = subprocess.run(
            [sys.executable, "-m", "python_server", "--port", "0", *options, *check],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("Error: ")
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_flood_of_handshakes_leaves_others_served(
    start: Start, certificate: Path, trusting: ssl.SSLContext
) -> None:
    program = start("--port", "0", *tls_options(certificate))
    url = program.urls()[0]
    steady = http.client.HTTPSConnection(
        "localhost", address(url)[1], context=trusting, timeout=PATIENCE_SECONDS
    )
    steady.request("GET", "/")
    steady.getresponse().read()
    flood: list[tuple[socket.socket, ssl.MemoryBIO, ssl.SSLObject]] = []
    for _ in range(200):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            hello.do_handshake()
        sock = reach(url)
        sock.sendall(outgoing.read())
        flood.append((sock, incoming, hello))
    for _ in range(5):
        steady.request("GET", "/")
        assert steady.getresponse().read()
    for sock, _, _ in flood:
        sock.settimeout(PATIENCE_SECONDS)
        assert sock.recv(1)  # each got its hello back
        sock.close()
    steady.close()


# Proxies

FORWARDED = {
    "X_Forwarded_For": "6.6.6.6, 192.0.2.7",
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "shop.example",
}


def test_a_trusted_proxy_is_believed(start: Start) -> None:
    program = start("--port", "0", "--proxy-headers")
    told = ask(reach(program.urls()[0]), **FORWARDED)
    assert told["REMOTE_ADDR"] == "192.0.2.7"
    assert told["wsgi.url_scheme"] == "https"
    assert (told["HTTP_HOST"], told["SERVER_PORT"]) == ("shop.example", "443")
    program.wait_for("192.0.2.7 - - [")
    told = ask(reach(program.urls()[0]), Forwarded='for="[2001:db8::7]";proto=https;host=shop.example')
    assert (told["REMOTE_ADDR"], told["HTTP_HOST"]) == ("2001:db8::7", "shop.example")


@pytest.mark.parametrize(
    "options", [[], ["--proxy-headers", "--forwarded-allow-ips", "10.0.0.0/8, 2001:db8::/32"]]
)
def test_nobody_else_is_believed(start: Start, options: list[str]) -> None:
    program = start("--port", "0", *options)
    told = ask(reach(program.urls()[0]), **FORWARDED, Forwarded="for=6.6.6.6;proto=https")
    assert (told["REMOTE_ADDR"], told["wsgi.url_scheme"]) == ("127.0.0.1", "http")
    assert told["HTTP_HOST"] == "inner.example"
    assert (told["HTTP_X_FORWARDED_FOR"] is None) is bool(options)
    program.wait_for("127.0.0.1 - - [")


def test_the_origin_of_a_websocket_is_held_against_the_forwarded_host(start: Start) -> None:
    program = start("--port", "0", "--proxy-headers")
    url = program.urls()[0].replace("http", "ws", 1) + "/echo"
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
    options: dict[str, Any] = {"origin": "https://shop.example", "open_timeout": PATIENCE_SECONDS}
    with connect(url, additional_headers=forwarded, **options) as websocket:
        websocket.send("hello")
        assert websocket.recv(PATIENCE_SECONDS) == "hello"
    for headers in ({}, {**forwarded, "X-Forwarded-Host": "other.example"}):
        with pytest.raises(InvalidStatus, match="403"):
            connect(url, additional_headers=headers, **options)


def test_a_malformed_list_of_proxies_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "python_server", "--proxy-headers", "--forwarded-allow-ips", "nonsense"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "'nonsense' is no address or network" in done.stderr


@pytest.mark.parametrize(
    ("path", "path_info"),
    [("/shop/cart", "/cart"), ("/cart", "/cart"), ("/shop", ""), ("/shopping", "/shopping")],
)
def test_below_a_path(start: Start, path: str, path_info: str) -> None:
    program = start("--port", "0", "--root-path", "shop/")
    told = ask(reach(program.urls()[0]), path)
    assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("/shop", path_info)


# The pages of deployment


def documented(language: str, containing: str) -> str:
    """A code block of them."""
    blocks = [block for page in DEPLOYMENT for block in page.read_text("utf-8").split(f"```{language}\n")[1:]]
    found = [block.partition("```")[0] for block in blocks if containing in block.partition("```")[0]]
    assert len(found) == 1
    return found[0]


def test_the_documented_nginx_configuration(
    start: Start, certificate: Path, trusting: ssl.SSLContext, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "shop.sock"

    def in_place(port: int) -> str:
        configuration = documented("nginx", "upstream shop")
        for written, here in {
            "/run/shop/shop.sock": str(path),
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/shop.example.pem": str(certificate / "cert.pem"),
            "/etc/ssl/shop.example.key": str(certificate / "key.pem"),
        }.items():
            assert configuration.count(written) == 1
            configuration = configuration.replace(written, here)
        return configuration

    # The test's client is on this machine, which by default is where proxies are.
    program = start("--uds", str(path), "--proxy-headers", "--forwarded-allow-ips", "192.0.2.1")
    assert program.urls() == [f"unix:{path}"]
    proxy = Nginx(tmp_path, in_place)
    request.addfinalizer(proxy.stop)
    port = proxy.port

    def through() -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        return trusting.wrap_socket(sock, server_hostname="shop.example")

    told = ask(
        through(), Host=f"shop.example:{port}", X_Forwarded_For="6.6.6.6", Forwarded="for=6.6.6.6;host=evil"
    )
    assert told["REMOTE_ADDR"] == "127.0.0.1"
    assert told["wsgi.url_scheme"] == "https"
    assert (told["HTTP_HOST"], told["SERVER_PORT"]) == (f"shop.example:{port}", str(port))
    assert told["HTTP_FORWARDED"] is None
    url = f"wss://shop.example:{port}/echo"
    echo_over_tls(url, (20,), sock=through_tcp(port), ssl=trusting, origin=f"https://shop.example:{port}")


def through_tcp(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)


def test_the_documented_container_command_is_well_formed() -> None:
    image = documented("dockerfile", "STOPSIGNAL")
    command = next(line for line in image.splitlines() if line.startswith("CMD "))
    arguments = json.loads(command.removeprefix("CMD "))
    assert arguments[:3] == ["python", "-m", "python_server"]
    arguments = ["listening_app:app" if argument == "shop:app" else argument for argument in arguments[3:]]
    subprocess.run(
        [sys.executable, "-m", "python_server", *arguments, "--check-config"], cwd=APPS, check=True
    )
