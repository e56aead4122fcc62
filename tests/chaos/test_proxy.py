"""The proxy does to bytes what it is told to."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import Flow, Line, Link, Proxy

PATIENCE = 10.0


class Echo:
    """A server that sends back what it is sent."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.received = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                threading.Thread(target=self._echo, args=(link,), daemon=True).start()

    def _echo(self, link: socket.socket) -> None:
        with link, contextlib.suppress(OSError):
            while data := link.recv(65536):
                self.received += data
                link.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    with contextlib.closing(Echo()) as echo:
        yield echo


@pytest.fixture
def line(echo: Echo) -> Iterator[Line]:
    with Proxy(echo.port) as proxy:
        yield proxy.line("vader")


def connect(line: Line) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", line.port))
    link.settimeout(PATIENCE)
    return link


def says(link: socket.socket, text: bytes) -> bytes:
    link.sendall(text)
    return link.recv(100)


def silent(link: socket.socket) -> bool:
    link.settimeout(0.2)
    try:
        link.recv(100)
    except TimeoutError:
        return True
    finally:
        link.settimeout(PATIENCE)
    return False


def is_reset(link: socket.socket) -> bool:
    try:
        return link.recv(100) == b""
    except ConnectionResetError:
        return True


def test_bytes_pass_both_ways(line: Line) -> None:
    with connect(line) as link:
        assert says(link, b"hello") == b"hello"


def test_what_is_stalled_comes_later(line: Line) -> None:
    with connect(line) as link:
        assert says(link, b"one") == b"one"
        line.become(Link(up=Flow(stalled=True)))
        link.sendall(b"two")
        assert silent(link)
        line.become(Link())
        assert link.recv(100) == b"two"


def test_one_way_is_stalled_and_not_the_other(line: Line, echo: Echo) -> None:
    with connect(line) as link:
        assert says(link, b"one") == b"one"
        line.become(Link(down=Flow(stalled=True)))
        link.sendall(b"two")
        assert silent(link)
        assert echo.received == b"onetwo"


def test_what_is_swallowed_is_gone_and_the_connection_with_it(line: Line) -> None:
    with connect(line) as link:
        assert says(link, b"one") == b"one"
        line.become(Link(up=Flow(swallowed=True)))
        link.sendall(b"two")
        assert silent(link)
        line.become(Link())
        assert is_reset(link)
    with connect(line) as again:
        assert says(again, b"three") == b"three"


def test_what_is_cut_is_reset_and_may_come_again(line: Line) -> None:
    with connect(line) as link:
        assert says(link, b"one") == b"one"
        line.cut()
        assert is_reset(link)
    with connect(line) as again:
        assert says(again, b"two") == b"two"
    assert line.connections == 2


def test_a_torn_link_gives_so_many_bytes_and_no_more(line: Line, echo: Echo) -> None:
    line.become(Link(torn=4))
    with connect(line) as link:
        link.sendall(b"123456789")
        assert is_reset(link)
    assert echo.received in {b"", b"1234"}


def test_a_delayed_link_takes_its_time(line: Line) -> None:
    with connect(line) as link:
        line.become(Link(up=Flow(delay=0.1)))
        began = time.monotonic()
        assert says(link, b"one") == b"one"
        assert time.monotonic() - began >= 0.1


def test_a_slow_link_takes_its_time(line: Line) -> None:
    with connect(line) as link:
        line.become(Link(up=Flow(rate=1000.0)))
        began = time.monotonic()
        assert says(link, b"x" * 100) == b"x" * 100
        assert time.monotonic() - began >= 0.1
