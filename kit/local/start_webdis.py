"""Become Webdis, as the role's unit starts it: configuration checked, Redis there, memory bounded.

start_webdis.py CHECK WEBDIS MEMORY_LIMIT USER TARGET: run by supervisord, where webdis.json is.
CHECK is the role's program that writes the configuration with the password to TARGET,
MEMORY_LIMIT is a number with a unit, as systemd has it, and USER is whom Webdis logs in as.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import redis

UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def bytes_of(limit: str) -> int:
    """Return the bytes of a limit such as ``256M``, or what stands for none."""
    if limit == "infinity":
        return resource.RLIM_INFINITY
    return int(limit.rstrip("KMGT")) * UNITS.get(limit[-1], 1)


def wait_for(address: tuple[str, int]) -> None:
    """Return when somebody listens at ``address``."""
    while True:
        try:
            socket.create_connection(address, timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


def is_ready(client: redis.Redis) -> bool:
    """Tell whether Redis has read back what it keeps; it listens before."""
    return not cast("dict[str, Any]", client.info("persistence"))["loading"]


def be_the_default_user(target: Path) -> None:
    """Let a Webdis log in that gives a password and no name, as the package of Debian 12.

    Redis's default user gets the rights of the user `webdis`, in the running Redis only: it
    reads its append-only file back as that user, which takes all rights. So it first has to have
    read it: EXEC refuses what the user may not do, and all transactions behind would be lost.

    Args:
        target: The configuration with the password.

    Raises:
        redis.RedisError: It ended meanwhile; another one may be reading.
    """
    import redis  # noqa: PLC0415  # seldom needed
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    configuration = json.loads(target.read_text(encoding="utf-8"))
    _, password = configuration["redis_auth"]
    with redis.Redis(
        host=configuration["redis_host"],
        port=configuration["redis_port"],
        username="admin",
        password=Path("admin_password").read_text(encoding="ascii"),
        # Whoever has answered that it is ready is told, or nobody.
        single_connection_client=True,
        retry=Retry(NoBackoff(), retries=0),
    ) as admin:
        while not is_ready(admin):
            time.sleep(0.05)
        (rights,) = (user for user in admin.acl_list() if user.startswith("user webdis on "))
        admin.execute_command("ACL", "SETUSER", "default", "reset", *rights.split()[2:])
    configuration["redis_auth"] = password
    target.write_text(json.dumps(configuration), encoding="utf-8")


def main() -> None:
    """Check, wait, and become Webdis."""
    check, program, memory_limit, user, target = sys.argv[1:]
    Path("webdis.pid").write_text(str(os.getpid()), encoding="ascii")
    command = [sys.executable, check, "webdis.json", "webdis_password", target]
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)
    configuration = json.loads(Path("webdis.json").read_text(encoding="utf-8"))
    wait_for((configuration["redis_host"], configuration["redis_port"]))
    if user == "default":
        be_the_default_user(Path(target))
    limit = bytes_of(memory_limit)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    os.execv(program, [program, target])  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main()
