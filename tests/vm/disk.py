"""Make a disk as real boxes have: GPT, GRUB for BIOS and for UEFI, one root file system.

``disk.py ROOT DISK``: ROOT is a folder with Debian's packages grub-pc-bin and
grub-efi-amd64-bin and a kernel; DISK the raw file to write. No loop device, no mount.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

SECTOR = 512
MIB = 1024 * 1024 // SECTOR  # in sectors
CORE_AT, ESP_AT, ROOT_AT = 1 * MIB, 2 * MIB, 66 * MIB
SECTORS = 6 * 1024 * MIB
LABEL = "kit-root"
MODULES = [
    "part_gpt",
    "ext2",
    "fat",
    "search",
    "search_label",
    "normal",
    "configfile",
    "linux",
    "serial",
]
PARTITIONS = f"""
label: gpt
start={CORE_AT}, size={ESP_AT - CORE_AT}, type=21686148-6449-6E6F-744E-656564454649
start={ESP_AT}, size={ROOT_AT - ESP_AT}, type=U
start={ROOT_AT}, type=L
"""
FIND = f"search --set=root --label {LABEL}\nset prefix=($root)/boot/grub\n"
# no_timer_check: on a busy host an emulated timer ticks too late for the kernel, which panics then.
MENU = f"""
serial --unit=0
terminal_output serial
linux /vmlinuz root=LABEL={LABEL} rw console=ttyS0 net.ifnames=0 no_timer_check
initrd /initrd.img
boot
"""


def run(*command: str | Path, standard_input: str | None = None) -> None:
    """Run a command that has to succeed."""
    subprocess.run(command, check=True, text=True, input=standard_input, stdout=subprocess.DEVNULL)


def image(root: Path, system: str, work: Path, *modules: str) -> Path:
    """Return GRUB for a kind of firmware, which looks for the root file system by its label."""
    early, made = work / "early.cfg", work / system
    early.write_text(f"{FIND}configfile $prefix/grub.cfg\n")
    folder = root / "usr/lib/grub" / system
    made_of = [
        "--format",
        system,
        "--directory",
        folder,
        "--config",
        early,
        "--prefix",
        "/boot/grub",
    ]
    run("grub-mkimage", *made_of, "--output", made, *MODULES, *modules)
    return made


def embed(disk: Path, boot: bytes, core: bytes) -> None:
    """Write GRUB's two stages for BIOS, each of which is told where the next one is.

    What grub-bios-setup does, which wants a device (GRUB: boot.S, diskboot.S).
    """
    sectors = -(-len(core) // SECTOR)
    core = bytearray(core.ljust(sectors * SECTOR, b"\0"))
    # diskboot.S: the last entry of its list of blocks: first sector, how many, where to in memory.
    struct.pack_into("<QHH", core, SECTOR - 12, CORE_AT + 1, sectors - 1, 0x820)
    with disk.open("r+b") as file:
        first = bytearray(file.read(SECTOR))
        first[:0x1B8] = boot[:0x1B8]  # the table of partitions follows
        struct.pack_into("<Q", first, 0x5C, CORE_AT)
        first[0x64] = 0xFF  # the drive that the BIOS has booted from
        first[0x66:0x68] = b"\x90\x90"  # as for hard disks: do not ask which drive it is
        file.seek(0)
        file.write(first)
        file.seek(CORE_AT * SECTOR)
        file.write(core)


def put(part: Path, disk: Path, at: int) -> None:
    """Copy a partition's file to its place."""
    run(
        "dd",
        f"if={part}",
        f"of={disk}",
        "bs=1M",
        f"seek={at // MIB}",
        "conv=notrunc,sparse",
        "status=none",
    )


def main(root: Path, disk: Path) -> None:
    """Make the disk."""
    (root / "boot/grub").mkdir(parents=True, exist_ok=True)
    (root / "boot/grub/grub.cfg").write_text(MENU)
    (root / "etc/fstab").write_text(f"LABEL={LABEL} / ext4 defaults 0 1\n")
    disk.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=disk.parent) as folder:
        work = Path(folder)
        run("truncate", "--size", str(SECTORS * SECTOR), disk)
        run("sfdisk", "--quiet", disk, standard_input=PARTITIONS)

        system = work / "system"
        run("truncate", "--size", str((SECTORS - ROOT_AT - MIB) * SECTOR), system)
        run("mkfs.ext4", "-q", "-F", "-L", LABEL, "-d", root, system)
        put(system, disk, ROOT_AT)

        esp = work / "esp"
        run("truncate", "--size", str((ROOT_AT - ESP_AT) * SECTOR), esp)
        run("mkfs.vfat", esp)
        efi = image(root, "x86_64-efi", work)
        run("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT")
        run("mcopy", "-i", esp, efi, "::/EFI/BOOT/BOOTX64.EFI")
        put(esp, disk, ESP_AT)

        core = image(root, "i386-pc", work, "biosdisk")
        boot = root / "usr/lib/grub/i386-pc/boot.img"
        embed(disk, boot.read_bytes(), core.read_bytes())


if __name__ == "__main__":
    for program in ("grub-mkimage", "sfdisk", "mkfs.vfat", "mcopy"):
        if not shutil.which(program):
            sys.exit(f"Error: {program} is missing.")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
