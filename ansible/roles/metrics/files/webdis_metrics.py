#!/usr/bin/python3 -I
"""Write numbers of Webdis, which has none of its own, where prometheus-node-exporter reads them.

Usage: webdis-metrics PORT MAX_SUBSCRIBERS FOLDER [EDGE_PORT]. Runs until it is ended. Where no
Webdis runs, the file has what can be told: that its sockets are 0.
"""

# It runs for ever, and pathlib would take 2 MiB.
# ruff: noqa: PTH105, PTH110, PTH123, PTH208
from __future__ import annotations

import os
import sys
import time

SECONDS = 5.0
EDGE_TURNS = 60  # the edge is asked less often
# The kernel's include/net/tcp_states.h, from 1 on.
STATES = (
    *("established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close"),
    *("close_wait", "last_ack", "listen", "closing", "new_syn_recv"),
)


def read(file: str) -> str:
    """Return the text of a file."""
    with open(file) as opened:
        return opened.read()


def sockets(port: int) -> dict[str, int]:
    """Return how many sockets a port of this machine has, by state."""
    counts = dict.fromkeys(STATES, 0)
    for table in ("tcp", "tcp6"):
        file = f"/proc/self/net/{table}"  # the sandbox hides /proc/net
        if not os.path.exists(file):  # a machine without IPv6
            continue
        for line in read(file).splitlines()[1:]:
            _slot, local, _remote, state, *_rest = line.split()
            if int(local.rpartition(":")[2], 16) == port:
                counts[STATES[int(state, 16) - 1]] += 1
    return counts


def webdis() -> str | None:
    """Return the folder of Webdis's process below /proc."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        folder = f"/proc/{name}"
        try:
            program = read(f"{folder}/cmdline").split("\0")[0]
        except (OSError, UnicodeDecodeError):  # it has ended meanwhile, or is none of ours
            continue
        if program.endswith("/webdis"):
            return folder
    return None


def process(folder: str) -> dict[str, int]:
    """Return memory and descriptors of a process, with their limits where there are any."""
    status = dict(line.split(":", 1) for line in read(f"{folder}/status").splitlines())
    limits = read(f"{folder}/limits").splitlines()
    found = {
        "webdis_resident_memory_bytes": int(status["VmRSS"].split()[0]) * 1024,
        # What its limit counts.
        "webdis_data_memory_bytes": int(status["VmData"].split()[0]) * 1024,
        "webdis_open_fds": len(os.listdir(f"{folder}/fd")),
    }
    names = {"Max data size": "webdis_data_memory_max_bytes", "Max open files": "webdis_max_fds"}
    for title, name in names.items():
        (limit,) = (line[len(title) :].split()[0] for line in limits if line.startswith(title))
        if limit != "unlimited":
            found[name] = int(limit)
    return found


def text(port: int, max_subscribers: int) -> str:
    """Return all numbers in Prometheus's text format."""
    lines = [f'webdis_sockets{{state="{state}"}} {count}' for state, count in sockets(port).items()]
    lines.append(f"webdis_max_subscribers {max_subscribers}")
    try:
        folder = webdis()
        numbers = process(folder) if folder else {}
    except (FileNotFoundError, ProcessLookupError, KeyError):  # it has ended meanwhile
        numbers = {}
    lines += [f"{name} {value}" for name, value in numbers.items()]
    return "".join(f"{line}\n" for line in lines)


def certificate_ends(port: int) -> float:
    """Return when the certificate ends that a port of this machine shows, in seconds of the epoch.

    Raises:
        OSError: Nobody answers.
        ssl.SSLCertVerificationError: It has ended already.
    """
    import socket  # noqa: PLC0415  # only the child needs them, and they take 10 MiB
    import ssl  # noqa: PLC0415

    shown = ssl.get_server_certificate(("127.0.0.1", port), timeout=5)
    # Python shows what is in a certificate only if it believes it: it is told to, this once.
    believing = ssl.create_default_context(cadata=shown)
    believing.check_hostname = False
    believing.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        believing.wrap_socket(plain) as connection,
    ):
        return ssl.cert_time_to_seconds(str((connection.getpeercert() or {})["notAfter"]))


def text_of_edge(port: int) -> str:
    """Return the numbers of the edge in Prometheus's text format; nothing if it does not answer."""
    try:
        return f"edge_certificate_not_after_seconds {certificate_ends(port):.0f}\n"
    except OSError as error:
        ended = type(error).__name__ == "SSLCertVerificationError"
        return "edge_certificate_not_after_seconds 0\n" if ended else ""


def write_of_edge(file: str, port: int) -> None:
    """Write the numbers of the edge, in a process whose memory is given back."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    try:
        write(file, text_of_edge(port))
    finally:
        os._exit(0)


def main() -> None:
    """Write the files again and again, each in one step."""
    port, max_subscribers, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    edge_port = int(sys.argv[4]) if sys.argv[4:] else 0
    turn = 0
    while True:
        write(f"{folder}/webdis.prom", text(port, max_subscribers))
        if edge_port and turn % EDGE_TURNS == 0:
            write_of_edge(f"{folder}/edge.prom", edge_port)
        turn += 1
        time.sleep(SECONDS)


def write(file: str, content: str) -> None:
    """Write a file that is read at any time."""
    partial = f"{file}.partial"  # another ending is not read
    with open(partial, "w") as opened:
        opened.write(content)
    os.replace(partial, file)


if __name__ == "__main__":
    main()
