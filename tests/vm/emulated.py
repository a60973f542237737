"""Boot a disk by emulation, up to its systemd."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from kit.system import wait_while

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KERNEL = ["linux-image-cloud-amd64", "initramfs-tools", "zstd"]
BOOT_SECONDS = 1800


@contextlib.contextmanager
def emulated(disk: Path, console: Path, *options: str | Path) -> Iterator[None]:
    """Boot a disk; switch the machine off at the end of the block.

    Args:
        disk: Raw.
        console: Takes what the machine prints.
        options: More of qemu.

    Raises:
        KitError: It did not come up in time.
    """
    machine = ["-accel", "tcg", "-cpu", "qemu64", "-m", "2048", "-smp", "2"]
    drive = ["-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"]
    screen = ["-display", "none", "-monitor", "none", "-serial", f"file:{console}"]
    console.write_text("")
    with subprocess.Popen(
        ["qemu-system-x86_64", *machine, *drive, *screen, *options], stdin=subprocess.DEVNULL
    ) as qemu:
        try:
            wait_while(
                lambda: "multi-user.target" not in console.read_text(errors="replace"),
                BOOT_SECONDS,
                lambda _: f"It did not boot: {console.read_text(errors='replace')[-300:]!r}",
            )
            yield
        finally:
            qemu.terminate()
