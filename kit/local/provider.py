"""This checkout's Redis and Webdis as programs of this user, on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import secrets
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.checkout import (
    CACHE_DIR,
    CHECKOUT_ID,
    INSTANCE_FILE,
    LOG_DIR,
    NAME,
    PROVISIONED_FILE,
    ROOT,
    write_private,
)
from kit.errors import KitError
from kit.local import build, package
from kit.local.configuration import (
    ADDRESS,
    FILES_KEPT,
    INPUTS,
    LOCAL_DIR,
    ROLES_DIR,
    WEBDIS_CONFIG,
    Variables,
    subscribers,
)
from kit.system import ask, wait_while

if TYPE_CHECKING:
    from kit.run_logged import Phases

CODE_DIR = Path(__file__).parent
STATE_FILE = LOCAL_DIR / "state.json"
# Below the ports that systems give out by themselves: Linux from 32768 on, macOS from 49152 on.
FIRST_PORT, LAST_PORT = 16000, 31999
STOP_SECONDS = 30.0
PROC = Path("/proc")


class Local:
    """This checkout's instance without a machine, as a provider."""

    name = "local"

    def exists(self) -> bool:
        """Tell whether this checkout has one, running or not."""
        return LOCAL_DIR.exists()

    def running(self) -> bool:
        """Tell whether it is kept running."""
        return _pid("supervisord", f"-i {NAME}") is not None

    def number_of_nodes(self) -> int:
        """Return how many nodes it has: one Redis."""
        return 1

    def up(self, sources: str, phases: Phases) -> bool:
        """Build what is missing, and start it; tell whether anything had to be done.

        Args:
            sources: ``auto``, or ``upstream`` to refuse the package of Webdis.
            phases: Takes the seconds of each step.

        Raises:
            KitError: A step failed.
        """
        state = _read_state()
        unchanged = PROVISIONED_FILE.exists() and state.get("inputs") == _inputs(sources, state)
        if unchanged and self.running():
            return False
        PROVISIONED_FILE.unlink(missing_ok=True)
        ports = state.get("ports", [])
        if not self.running():
            _end_leftovers(ports)
        if unchanged and all(map(_free, ports)):
            with phases.phase("start"):
                _start()
            return True
        LOCAL_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        variables = Variables(sources, _open_files())
        with phases.phase("programs"):
            redis_dir, redis_record = build.redis(variables)
            webdis_dir, webdis_record = build.webdis(variables)
        with phases.phase("start"):
            self.down()
            ports = _choose_ports(ports)
            variables.set(
                redis_port=ports[0],
                webdis_redis_port=ports[0],
                webdis_port=ports[1],
                redis_installed={**redis_record, "port": ports[0]},
                webdis_installed={**webdis_record, "port": ports[1]},
            )
            _configure(variables, redis_dir, webdis_dir)
            # Before the start: whatever is started belongs to an instance that exists.
            state = {"ports": ports, "webdis": webdis_record["origin"]}
            state["inputs"] = _inputs(sources, state)
            write_private(STATE_FILE, json.dumps(state))
            _start()
        for folder in build.OPT_DIR.iterdir():
            if folder not in (redis_dir, webdis_dir):
                shutil.rmtree(folder)
        return True

    def down(self) -> bool:
        """Stop it and keep its data; tell whether it was running.

        Raises:
            KitError: It does not end.
        """
        pid = _pid("supervisord", f"-i {NAME}")
        if pid is None:
            return False
        os.kill(pid, signal.SIGTERM)
        wait_while(
            self.running,
            STOP_SECONDS,
            lambda _: f"{NAME} (process {pid}) does not end. {self.where_to_look()}",
        )
        return True

    def destroy(self) -> bool:
        """Remove it; tell whether there was one."""
        existed = self.exists()
        self.down()
        _end_leftovers(_read_state().get("ports", []))
        shutil.rmtree(LOCAL_DIR, ignore_errors=True)
        return existed

    def where_to_look(self) -> str:
        """Return a sentence that says where the programs say what is wrong."""
        logs = (f"{LOG_DIR.relative_to(ROOT)}/{name}.log" for name in ("redis", "webdis"))
        return f"{' and '.join(logs)} say why."


def _read_state() -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads(STATE_FILE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state


def _inputs(sources: str, state: dict[str, Any]) -> str:
    """Return a digest of all that an instance is made from."""
    digest = hashlib.sha256(f"{sources} {_open_files()} {NAME}".encode())
    for path in (CODE_DIR, *INPUTS):
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    if state.get("webdis") == "package":
        # An archive that was put there by hand takes its place.
        digest.update(repr(sorted((CACHE_DIR / "archives").glob("webdis-*"))).encode())
    return digest.hexdigest()


def _open_files() -> int:
    """Return how many files the processes are to have open, at most what this user may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = 2 * subscribers(sys.maxsize) + FILES_KEPT
    return wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((ADDRESS, port))
            return True
    return False


def _choose_ports(known: list[int]) -> list[int]:
    """Return two ports that nobody has: those from before, or the next ones of this checkout's own.

    Raises:
        KitError: There are none.
    """
    first = FIRST_PORT + int(CHECKOUT_ID, 16) % (LAST_PORT - FIRST_PORT)
    candidates = [*known, *range(first, LAST_PORT), *range(FIRST_PORT, first)]
    free = (port for port in candidates if _free(port))
    try:
        redis_port = next(free)
        return [redis_port, next(port for port in free if port != redis_port)]
    except StopIteration:
        raise KitError(
            f"All ports of {ADDRESS} from {FIRST_PORT} to {LAST_PORT} are taken; "
            f"`ss -ltnp` shows by whom."
        ) from None


def _configure(variables: Variables, redis_dir: Path, webdis_dir: Path) -> None:
    """Write all that the programs read."""
    admin = LOCAL_DIR / "admin_password"
    if not admin.exists():
        write_private(admin, secrets.token_hex(32))
    digest = hashlib.sha256(admin.read_bytes()).hexdigest()

    def here(path: Path) -> str:
        return os.path.relpath(path, LOCAL_DIR)

    is_package = variables.value("webdis_installed.origin") == "package"
    variables.set(
        _redis_digests={"admin_password": digest},
        local_redis=here(redis_dir),
        local_webdis=here(webdis_dir),
        local_libraries=[here(folder) for folder in package.libraries(webdis_dir)]
        if is_package
        else [],
        local_webdis_config=here(WEBDIS_CONFIG),
        local_webdis_running=_webdis_running(),
        local_webdis_user=package.user(variables.value("webdis_installed.version")),
        local_logs=here(LOG_DIR),
        local_open_files=_open_files(),
        local_python=here(ROOT / ".venv/bin/python"),
        local_kit=here(CODE_DIR),
    )
    templates = {
        "users.acl": ROLES_DIR / "redis/templates/users.acl.j2",
        "redis.conf": ROLES_DIR / "redis/templates/redis.conf.j2",
        "webdis.json": ROLES_DIR / "webdis/templates/webdis.json.j2",
        "supervisord.conf": CODE_DIR / "supervisord.conf.j2",
    }
    for name, template in templates.items():
        write_private(LOCAL_DIR / name, variables.render(template))
    write_private(LOCAL_DIR / "webdis_password", variables.value("webdis_redis_password"))
    for user in variables.value("kit_redis_passwords"):  # each is made on first use
        assert user  # noqa: S101
    instance = json.dumps(variables.value("kit_instance"), indent=4)
    INSTANCE_FILE.write_text(instance + "\n", encoding="utf-8")


def _webdis_running() -> str:
    """Return the file that Webdis reads; by its name its process is known."""
    return f"webdis-{NAME}.json"


def _start() -> None:
    """Have everything started and kept running.

    Raises:
        KitError: The supervisor refuses.
    """
    LOG_DIR.mkdir(parents=True, exist_ok=True)
    command = [str(ROOT / ".venv/bin/python"), str(CODE_DIR / "supervisord.py")]
    started = ask(
        [*command, "-c", "supervisord.conf", "-i", NAME],
        cwd=LOCAL_DIR,
        env={"PATH": os.environ["PATH"], "HOME": str(LOCAL_DIR), "LC_ALL": "C.UTF-8"},
    )
    if started.returncode:
        raise KitError(f"Redis and Webdis cannot be supervised: {started.stderr.strip()}")


def command_line(pid: int) -> str:
    """Return the command line of a process; empty where there is none."""
    if not PROC.exists():  # macOS
        return ask(["ps", "-ww", "-o", "command=", "-p", str(pid)]).stdout
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return words.replace(b"\0", b" ").decode(errors="replace")


def _pid(program: str, mark: str) -> int | None:
    """Return the process of one of the programs, where it runs.

    Args:
        program: Its pid file's name.
        mark: What its command line holds, and no other checkout's.
    """
    try:
        pid = int((LOCAL_DIR / f"{program}.pid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return pid if mark in command_line(pid) else None


def _end_leftovers(ports: list[int]) -> None:
    """End what a supervisor that was killed has left."""
    _end("webdis", _webdis_running())
    if ports:
        _end("redis", f"{ADDRESS}:{ports[0]}")


def _end(program: str, mark: str) -> None:
    if (pid := _pid(program, mark)) is not None:
        os.kill(pid, signal.SIGKILL)
        wait_while(
            lambda: _pid(program, mark),
            STOP_SECONDS,
            lambda found: f"{program} (process {found}) does not end.",
        )
