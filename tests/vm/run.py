"""``make test-vm``: a real virtual machine through this very Vagrantfile, by emulation.

VirtualBox needs hardware virtualisation, which test hosts lack; libvirt emulates without.
Makes a box, a LAN and a copy of this checkout; brings the copy's machine up with standard
input closed while a stranger on the LAN looks for ways in; checks address, key and
prompts; then provisions it, runs tests/server against it, and removes everything.
``QUICK=1`` stops after the machine is up. ``GUEST=1`` provisions by an Ansible in the machine,
as where the host has none (Windows), with TLS, and sends a browser through a run of the
demo instead of running tests/server. ``UBUNTU_LIKE=1`` makes the box of what molecule's
scenario of that name has. With ``QUICK=1``, ``NODES=3`` brings three up. An emulated guest is
about seven times slower than its host: on two cores that others kept busy the first part took
15 to 22 minutes, and the Redis that the whole builds takes longer than that.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from emulated import KERNEL, emulated
from lan import Lan, Watcher

from kit.checkout import CHECKOUT_ID, INSTANCES_DIR, LOG_DIR, ROOT
from kit.container import IMAGE_PACKAGES, root_file_system
from kit.errors import KitError
from kit.run_logged import run_logged
from kit.system import ensure_packages

PACKAGES = [
    "debian-archive-keyring",
    "dnsmasq-base",
    "dosfstools",
    "e2fsprogs",
    "fdisk",
    "grub-common",
    "iproute2",
    "libvirt-clients",
    "libvirt-daemon-system",
    "mmdebstrap",
    "mtools",
    "ovmf",
    "qemu-system-x86",
    "qemu-utils",
    "rsync",
    "ruby",
    "systemd-container",
    "vagrant",
    "vagrant-libvirt",
]
# To boot by itself, which a container does not.
BOOT = [*KERNEL, "grub-pc-bin", "grub-efi-amd64-bin"]
FIRMWARE = {"SeaBIOS": [], "OVMF": ["-bios", "/usr/share/ovmf/OVMF.fd"]}
NAME = f"kit-vm-{CHECKOUT_ID}"
# Not below the home folder, which libvirt's qemu may not enter.
DIRECTORY = Path("/var/lib/webdis-kit-vm-test") / NAME
COPY = DIRECTORY / NAME  # libvirt names the machine after it
NUMBER = int(CHECKOUT_ID, 16) % 32  # 198.18.0-31 for the LAN, 32-63 for Vagrant's network
LAN = Lan(
    f"wv-{CHECKOUT_ID}",
    NUMBER,
    f"02:57:4b:{CHECKOUT_ID[:2]}:{CHECKOUT_ID[2:4]}:{CHECKOUT_ID[4:]}",
    DIRECTORY,
)
MANAGEMENT = f"198.18.{NUMBER + 32}.0/24"
ENVIRONMENT = {
    "VAGRANT_HOME": str(DIRECTORY / "vagrant-home"),
    "VAGRANT_CWD": str(COPY),
    "KIT_VM_BOX": NAME,
    "KIT_VM_BRIDGE": LAN.bridge,
    "KIT_VM_MAC": LAN.mac,
    "KIT_VM_LIBVIRT_DRIVER": "qemu",
    "KIT_VM_DHCP_SECONDS": "600",
    "PROVIDER": "libvirt",
}
NODES = int(os.environ.get("NODES") or 1)
UBUNTU_LIKE = bool(os.environ.get("UBUNTU_LIKE"))
UBUNTU = ROOT / "ansible/molecule/ubuntu_like/ubuntu.yml"
SERVER = str(ROOT / "kit/ansible/server.yml")
# What a machine made by that has, and what it says of it.
OF_UBUNTU = {
    "networkctl --no-pager status eth0": "10-netplan-eth0.network",
    "cloud-init status --long": "DataSourceNoCloud",
    "systemctl is-active ssh.socket": "active",
    "cat /sys/module/apparmor/parameters/enabled": "Y",
    "sudo ufw status": "Status: active",
    "sudo --version": "sudo-rs",
    "command -v ls": "/usr/local/bin/ls",  # uutils, which does not name itself
}
START = time.monotonic()


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"[{time.monotonic() - START:5.0f} s] {text}", flush=True)


def check(holds: bool, text: str) -> None:  # noqa: FBT001  # reads as a sentence
    """Print what was checked; end the test where it does not hold."""
    if not holds:
        raise KitError(f"Not so: {text}")
    say(f"ok: {text}")


def virsh(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run virsh against the system's libvirt; its failure is for the caller to judge."""
    return subprocess.run(
        ["virsh", "--connect", "qemu:///system", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@contextlib.contextmanager
def libvirt():
    """Start libvirt where none runs, and stop only what was started."""
    if virsh("version", "--daemon").returncode == 0:
        yield
        return
    daemons = [
        subprocess.Popen([daemon], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for daemon, log in (
            (name, (DIRECTORY / f"{name}.log").open("w")) for name in ("virtlogd", "libvirtd")
        )
    ]
    try:
        deadline = time.monotonic() + 60
        while virsh("version", "--daemon").returncode:
            if time.monotonic() > deadline:
                raise KitError(f"libvirtd did not start; see {DIRECTORY / 'libvirtd.log'}.")
            time.sleep(0.5)
        yield
    finally:
        # libvirt's own network starts with it and would outlive it.
        virsh("net-destroy", "default")
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=30)


def make_box() -> None:
    """Make the box and give it to Vagrant."""
    archive = ubuntu() if UBUNTU_LIKE else root_file_system("trixie", [*IMAGE_PACKAGES, *BOOT])
    run_logged("Box", ["tests/vm/box.sh", archive, str(DIRECTORY), MANAGEMENT], log="vm-box")
    if not UBUNTU_LIKE:
        for firmware, options in FIRMWARE.items():
            boot(firmware, options)
    (DIRECTORY / "disk.raw").unlink()
    run_logged(
        "Box to Vagrant",
        [
            "vagrant",
            "box",
            "add",
            "--force",
            "--provider",
            "libvirt",
            "--name",
            NAME,
            f"{DIRECTORY}/kit.box",
        ],
        log="vm-box-add",
        environment={**ENVIRONMENT, "VAGRANT_CWD": str(DIRECTORY)},
    )


def ubuntu() -> str:
    """Return an archive of what molecule's scenario makes of Debian, with a kernel.

    That container then builds Redis and Webdis for the cache, as the first server of a kind does
    for those that follow: an emulated one would take ten minutes to compile them.
    """
    folder, archive = INSTANCES_DIR / "box", DIRECTORY / "ubuntu.tar"
    environment = {
        "KIT_INSTANCE": "box",
        "SUITE": "trixie",
        "ANSIBLE_CONFIG": str(ROOT / "kit/ansible/ansible.cfg"),
    }
    kit = [sys.executable, "-m", "kit"]
    ansible = [".venv/bin/ansible-playbook", "--inventory", str(folder / "inventory.yml")]
    network = json.dumps({"ubuntu_like_ethernets": {"eth0": {"dhcp4": True}}})
    login = f"ssh -F {shlex.quote(str(folder / 'ssh_config'))} server"
    install = "DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends"
    not_of_box = "--exclude=./root/.ssh --exclude=./etc/systemd/network/10-host0.network"
    tar = f"tar -C / --one-file-system --numeric-owner --xattrs {not_of_box} -cf - ."
    steps = {
        "Container for the box": [*kit, "create"],
        "Ubuntu-like": [*ansible, "--extra-vars", network, str(UBUNTU)],
        "Kernel": ["sh", "-c", f"{login} '{install} {' '.join(BOOT)}'"],
        "Archive for the box": ["sh", "-c", f"{login} '{tar}' >{archive}"],
    }
    if not os.environ.get("QUICK"):
        steps["Builds for the cache"] = [*ansible, SERVER]
    try:
        for label, command in steps.items():
            run_logged(label, command, log="vm-ubuntu", environment=environment)
    finally:
        run_logged("Container", [*kit, "destroy"], log="vm-ubuntu", environment=environment)
    return str(archive)


def boot(firmware: str, options: list[str]) -> None:
    """Boot the box's disk by a kind of firmware, up to its systemd; change nothing.

    Args:
        firmware: What a person calls it.
        options: Of qemu.

    Raises:
        KitError: It did not come up in time.
    """
    say(f"{firmware} boots the box's disk, emulated")
    console = DIRECTORY / f"console-{firmware}.log"
    with emulated(DIRECTORY / "disk.raw", console, "-snapshot", "-net", "none", *options):
        say(f"ok: {firmware}, GRUB, kernel, multi-user.target")


def copy_checkout() -> None:
    """Copy what is or could be committed; its environment is its own.

    That of this checkout would be taken for one that was moved here, and be made anew.
    """
    COPY.mkdir(parents=True)
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    subprocess.run(
        ["rsync", "-a", "--from0", "--files-from=-", f"{ROOT}/", f"{COPY}/"],
        input=files,
        check=True,
    )
    # Half an hour of an emulated machine; the scenario ubuntu_like of molecule has it.
    (COPY / "kit/ansible/group_vars/all/vm.yml").write_text("build_host_upgrade: none\n")
    stamps = [f".venv/{group}.stamp" for group in ("ops", "demo", "test")]
    make("Python environment of the copy", *stamps)


def output(*command: str | Path) -> str:
    """Return what a command prints in the copy's folder and environment; it has to succeed."""
    return subprocess.run(
        command,
        cwd=COPY,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def guest(command: str) -> str:
    """Run a command in the VM through the copy's .kit/ssh_config, as people do."""
    return output("ssh", "-F", ".kit/ssh_config", "-o", "BatchMode=yes", "server", command)


def python(program: str) -> str:
    """Run a program in the copy, as its Makefile does."""
    return output(".venv/bin/python", "-c", program)


def make(label: str, *arguments: str) -> list[str]:
    """Run make in the copy."""
    return run_logged(
        label,
        ["make", "--no-print-directory", "-C", str(COPY), *arguments],
        log="vm-make",
        environment=ENVIRONMENT,
    )


def vagrant(label: str, command: str, *, ansible: str) -> None:
    """Run a command of Vagrant in the copy, as people do without make."""
    run_logged(
        label,
        ["vagrant", command, "--no-color"],
        log=f"vm-{command}",
        environment={
            **ENVIRONMENT,
            "KIT_ANSIBLE": ansible,
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
        },
    )


def pytest(label: str, arguments: str) -> None:
    """Run tests in the copy, which give the emulated machine seven times as long."""
    lines = run_logged(
        label,
        ["sh", "-c", f"cd {COPY} && exec .venv/bin/python -m pytest {arguments}"],
        log="vm-pytest",
        environment={**ENVIRONMENT, "SLOWER": "7", "KIT_TESTS_WAIT_SECONDS": "420"},
    )
    for line in lines[-3:]:
        say(line)


def vagrants_private_key() -> Path:
    """Return the private key that everybody has, with the rights that ssh wants."""
    named = output("ruby", "-e", 'require "vagrant"; puts Vagrant.source_root.join("keys/vagrant")')
    key = DIRECTORY / "vagrants_key"
    shutil.copyfile(named.strip(), key)
    key.chmod(0o600)
    return key


def up(*, ansible: str) -> None:
    """`vagrant up` alone, watched from the LAN; then what the watcher and the host see."""
    with Watcher(LAN, vagrants_private_key(), LOG_DIR) as watcher:
        vagrant("vagrant up, emulated: it boots for minutes", "up", ansible=ansible)
        say("vagrant up ended well, with standard input closed")
        check(watcher.wait_until_tried(300), "SSH answers on the LAN")
    at_first_frame = watcher.log_at_first_frame or ""
    check(
        "Inserting generated public key" in at_first_frame,
        "the VM's first frame on the LAN came after Vagrant's public key was replaced",
    )
    check("Running provisioner: lan" in at_first_frame, "and not before the step that closes SSH")
    for user, answer in watcher.methods.items():
        check(
            answer.endswith("Permission denied (publickey)."),
            f"from the first moment {user} could log in with a key alone ({answer})",
        )
    check(not watcher.ways_in, f"Vagrant's public key opened nothing {watcher.ways_in or ''}")
    machine, *others = json.loads(
        python(
            "import json, kit.providers\n"
            "machines = kit.providers.current().machines()\n"
            "print(json.dumps([vars(machine) for machine in machines], default=str))"
        )
    )
    check(len(others) == NODES - 1, f"there are {NODES} machines")
    check(
        len({LAN.address, *(one["address"] for one in others)}) == NODES
        and all(one["subnet"] == LAN.subnet for one in others),
        "each has an address of its own on the LAN",
    )
    check(
        (machine["address"], machine["subnet"], machine["bridge"])
        == (LAN.address, LAN.subnet, LAN.bridge),
        f"address {LAN.address}, subnet and bridge are the LAN's, not those of Vagrant's network",
    )
    for command, said in OF_UBUNTU.items() if UBUNTU_LIKE else []:
        # sudo-rs names itself on standard error; cloud-init ends with 2 where it has a warning.
        told = output("ssh", "-F", ".kit/ssh/vagrant_config", "default", f"{command} 2>&1; true")
        check(said in told, f"{command} says {said}, of {told!r}")


def whole() -> None:
    """What follows once `vagrant up` has provisioned."""
    instance = json.loads((COPY / ".kit/instance.json").read_text())
    check(
        (instance["provider"], instance["address"], instance["bridge"], instance["subnet"])
        == ("libvirt", LAN.address, LAN.bridge, LAN.subnet),
        "instance.json has provider, address, bridge and subnet",
    )
    check(guest("id -un").strip() == "root", "the inventory's way in, ssh_config, works")
    for line in make("make status", "status"):
        say(line)
    guest("systemctl stop webdis")
    vagrant("vagrant provision", "provision", ansible="host")
    check(guest("systemctl is-active webdis").split() == ["active"], "it provisions again")
    make("make down", "down")
    stopped = 'print(__import__("kit.status").status.read()["wrong"])'
    check("stopped" in python(stopped), "it is stopped")
    make("make up", "up")
    check(
        guest("systemctl is-active redis webdis").split() == ["active", "active"],
        "after down and up both services run",
    )
    # Those about builds make each by a playbook of its own: the scenario ubuntu_like runs them.
    builds = "--ignore tests/server/test_source_build.py"
    pytest("tests/server, the same as for the container", f"--timeout 3600 {builds} tests/server")


def whole_in_guest() -> None:
    """What follows once Ansible in the guest has provisioned."""
    copys_name = python("from kit.checkout import NAME; print(NAME)").strip()
    instance = json.loads((COPY / ".kit/instance.json").read_text())
    check(
        (instance["provider"], instance["name"], instance["address"], instance["tls"])
        == ("libvirt", copys_name, LAN.address, True),
        "instance.json has come to the host, with provider, name, address and TLS",
    )
    check(guest("id -un").strip() == "root", "the way in, ssh_config, works")
    for target in ("status", "ip", "verify"):
        for line in make(f"make {target}", target):
            say(line)
    provisioned = (COPY / ".kit/provisioned").stat().st_mtime_ns
    python("import kit.__main__ as kit; kit.ensure()")
    check(
        (COPY / ".kit/provisioned").stat().st_mtime_ns == provisioned,
        "make demo and its like find it provisioned",
    )
    run_logged("Chromium", ["tests/install.sh"], log="vm-install")
    pytest("A browser of the host and the demo, over TLS", "-s tests/e2e/test_run.py")
    vagrant("vagrant up once more: nothing to do", "up", ansible="guest")


def main() -> int:
    """Run the test; return the exit code."""
    if os.environ.get("QUICK"):
        ansible, rest = "later", None
        end = "QUICK ended here; make test-vm goes on to provision and test it."
    elif os.environ.get("GUEST"):
        ansible, rest, end = "guest", whole_in_guest, "All of it, with Ansible in the guest."
        ENVIRONMENT["TLS"] = "1"
    else:
        ansible, rest, end = "host", whole, "All of it."
    if os.geteuid():
        raise KitError("make test-vm makes bridges and starts libvirt: run it as root.")
    ensure_packages(PACKAGES)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True)
    DIRECTORY.parent.chmod(0o755)
    with libvirt():
        try:
            with ThreadPoolExecutor() as pool:
                copied = pool.submit(copy_checkout)
                make_box()
                copied.result()
            LAN.start()
            up(ansible=ansible)
            if rest:
                rest()
        finally:
            clean_up()
    say(end)
    return 0


def clean_up() -> None:
    """Remove the machine, its box, network and LAN, whatever became of them."""
    if COPY.exists():
        with contextlib.suppress(KitError):
            make("make destroy", "destroy")
    LAN.stop()
    for machine in virsh("list", "--all", "--name").stdout.split():
        if machine.startswith(f"{NAME}_"):
            virsh("destroy", machine)
            virsh("undefine", machine)
    virsh("net-destroy", NAME)
    virsh("net-undefine", NAME)
    for line in virsh("vol-list", "default").stdout.splitlines():
        if line.split()[:1] and line.split()[0].startswith(NAME):
            virsh("vol-delete", "--pool", "default", line.split()[0])
    shutil.rmtree(DIRECTORY, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all is removed
    try:
        sys.exit(main())
    except KitError as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        print("\nInterrupted; the machine, its box and its LAN are removed.", file=sys.stderr)
        sys.exit(130)
