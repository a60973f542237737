"""A small disk under Redis's data: it can be filled up, and its power can be cut."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kit.container import STATE_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE_BYTES = 64 << 20
NODE = "/faults-disk"
DATA = "/var/lib/redis"
FILLER = f"{DATA}/filler"
MOUNT = f"mount -t ext4 {NODE} {DATA}"
# EXT4_IOC_SHUTDOWN with NOLOGFLUSH: the file system stops, and what it has not
# written yet is gone, as in a power cut.
SHUTDOWN = (
    f"python3 -c 'import fcntl, os; "
    f'fcntl.ioctl(os.open("{DATA}", os.O_RDONLY), 0x8004587D, b"\\2\\0\\0\\0")\''
)


def fill(command: Callable[[str], object], seconds: int) -> None:
    """Fill the small disk up, and make room again after some seconds."""
    command(f"! dd if=/dev/zero of={FILLER} bs=64k && sleep {seconds}; rm {FILLER}")


@contextmanager
def small_disk(
    name: str, command: Callable[[str], object], folder: Path
) -> Iterator[Callable[[], None]]:
    """Put Redis's data on a disk of its own for the time of the block; needs root.

    Args:
        name: Of the container.
        command: Runs a shell command in it, which must succeed.
        folder: For the disk's image.

    Yields:
        What cuts the power of that disk, and brings it and Redis back.
    """
    image = folder / "disk"
    with image.open("wb") as file:
        file.truncate(SIZE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    attach = ["losetup", "--find", "--show", image]
    device = subprocess.run(attach, capture_output=True, text=True, check=True).stdout.strip()
    # The container may not make device nodes.
    node = STATE_DIR / name / f"closed/rootfs{NODE}"
    subprocess.run(["cp", "-a", device, node], check=True)
    command(
        f"systemctl stop redis && cp -a {DATA} {DATA}.saved && {MOUNT} && "
        f"cp -a {DATA}.saved/. {DATA} && systemctl start redis"
    )

    def cut_power() -> None:
        command(
            f"systemctl kill --kill-whom=main --signal=KILL redis && {SHUTDOWN} && "
            f"systemctl stop redis && umount {DATA} && {MOUNT} && systemctl start redis"
        )

    try:
        yield cut_power
    finally:
        command(
            f"systemctl stop redis && umount {DATA} && rm -r {DATA}.saved && systemctl start redis"
        )
        node.unlink()
        subprocess.run(["losetup", "--detach", device], check=True)
