"""The benchmark's client: no message is missed or counted twice, however it is cut."""

import contextlib
import socket
import threading

import pytest

from bench.client import Fleet, Protocol

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
