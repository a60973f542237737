"""The benchmark's client: no message is missed or counted twice, however it is cut."""

import contextlib
import socket
import threading

import pytest

from bench.client import Fleet, Outlet, Protocol

MARKERS = [b"0000100000000", b"0000100000001", b"0000100000002"]
STREAM = b"".join(b'~\x0e{"text": "step @%b@"}' % marker for marker in MARKERS)


def serve(server: socket.socket, pieces: list[bytes]) -> None:
    connection, _ = server.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert connection.recv(5) == b"hello"
        connection.sendall(b"welcome" + pieces[0])
        # The client may have all that it waits for, and be gone, before the last piece.
        with contextlib.suppress(ConnectionError):
            for piece in pieces[1:]:
                # It asks for the next one once it is connected: nothing is joined.
                assert connection.recv(1)
                connection.sendall(piece)
            connection.recv(1)


@pytest.mark.parametrize("at", range(len(STREAM)))
def test_a_message_that_is_cut_anywhere_is_received_once(at):
    pieces = [STREAM[:at], STREAM[at:]]
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server, pieces))
        thread.start()
        fleet = Fleet(server.getsockname(), Protocol(((b"hello", b"welcome"),)), None)
        try:
            fleet.connect(1, 1, at_once=True, timeout=20)
            fleet.subscribers[0].sock.send(b"n")

            def found() -> list[bytes]:
                return [marker for _, _, markers in fleet.arrivals for marker in markers]

            assert fleet.wait(lambda: len(found()) >= len(MARKERS), 20)
            assert found() == MARKERS
        finally:
            fleet.close()
            thread.join()


def taken(sock: socket.socket) -> bytes:
    """Return all that has arrived."""
    data = b""
    with contextlib.suppress(BlockingIOError):
        while more := sock.recv(65536):
            data += more
    return data


def test_what_a_connection_does_not_take_is_sent_later_and_no_half_message_after_a_loss():
    here, there = socket.socketpair()
    with here, there:
        for sock in (here, there):
            sock.settimeout(0)
        outlet = Outlet(here)
        messages = [b"%06d" % number for number in range(100_000)]
        outlet.load(messages)
        outlet.due_bytes = 6 * len(messages)
        outlet.flush()
        arrived = taken(there)
        assert 0 < len(arrived) < outlet.due_bytes, "more than the connection takes at once"
        outlet.load([b"%06d" % 999_999])
        outlet.due_bytes += 6
        while outlet.sent_bytes < outlet.due_bytes:
            outlet.flush()
            arrived += taken(there)
        assert arrived == b"".join(messages) + b"999999"

        outlet.load([b"abcdef", b"ghijkl"])
        outlet.due_bytes, outlet.sent_bytes = 12, 2
        outlet.forget_half()
        outlet.flush()
        assert taken(there) == b"ghijkl"
