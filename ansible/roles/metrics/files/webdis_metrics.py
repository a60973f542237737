#!/usr/bin/python3 -I
"""Write numbers of Webdis, which has none of its own, where prometheus-node-exporter reads them.

Usage: webdis-metrics PORT MAX_SUBSCRIBERS FOLDER [EDGE_PORT]. Runs until it is ended. Where no
Webdis runs, the file has what can be told: that its sockets are 0.
"""

from __future__ import annotations

import collections
import itertools
import os
import sys
import time
from pathlib import Path

SECONDS = 5.0
EDGE_TURNS = 60  # the edge is asked less often
# The kernel's include/net/tcp_states.h, from 1 on.
STATES = (
    *("established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close"),
    *("close_wait", "last_ack", "listen", "closing", "new_syn_recv"),
)


def sockets(port: int) -> dict[str, int]:
    """Return how many sockets a port of this machine has, by state."""
    counts: collections.Counter[str] = collections.Counter()
    # The sandbox hides /proc/net. A machine without IPv6 has no second table.
    for path in Path("/proc/self/net").glob("tcp*"):
        for line in path.read_text().splitlines()[1:]:
            _slot, local, _remote, state, *_rest = line.split()
            if int(local.rpartition(":")[2], 16) == port:
                counts[STATES[int(state, 16) - 1]] += 1
    return {state: counts[state] for state in STATES}


def webdis() -> Path | None:
    """Return the folder of Webdis's process below /proc."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        if words[0].endswith(b"/webdis"):
            return folder
    return None


def process(folder: Path) -> dict[str, int]:
    """Return memory and descriptors of a process, with their limits where there are any."""
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    limits = (folder / "limits").read_text().splitlines()
    found = {
        "webdis_resident_memory_bytes": int(status["VmRSS"].split()[0]) * 1024,
        # What its limit counts.
        "webdis_data_memory_bytes": int(status["VmData"].split()[0]) * 1024,
        "webdis_open_fds": len(list((folder / "fd").iterdir())),
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
    except FileNotFoundError:  # it has ended meanwhile
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


def write_of_edge(file: Path, port: int) -> None:
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
    port, max_subscribers, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    edge_port = int(sys.argv[4]) if sys.argv[4:] else 0
    for turn in itertools.count():
        write(folder / "webdis.prom", text(port, max_subscribers))
        if edge_port and turn % EDGE_TURNS == 0:
            write_of_edge(folder / "edge.prom", edge_port)
        time.sleep(SECONDS)


def write(file: Path, content: str) -> None:
    """Write a file that is read at any time."""
    partial = file.with_suffix(".partial")  # another ending is not read
    partial.write_text(content)
    partial.replace(file)


if __name__ == "__main__":
    main()
