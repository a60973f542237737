"""What each provider needs, and whether this host has it. It is asked, and nothing is changed."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kit.checkout import CACHE_DIR
from kit.doctor.incompatible_versions import (
    HOLDS_AT_LOAD,
    kvm_and_virtualbox,
    vagrant_and_virtualbox,
)
from kit.doctor.install_commands import COMMANDS, VAGRANT_SITE
from kit.local import compiler

PYTHON = (3, 11)
# What requirements/install.sh looks for beside one that is too old.
OTHER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
MEMORY_GIB = 2.0
DISK_GIB = 10.0
TIMEOUT_SECONDS = 4.0
HOSTS = ("download.redis.io", "github.com", "vagrantcloud.com")


@dataclass(frozen=True)
class Check:
    """One thing that was looked for.

    Args:
        name: What was looked for.
        ok: Whether it was found, or is good enough.
        found: What was found, or what is wrong.
        command: What gets it on this system.
        blocks: ``tool`` or ``hardware`` where a provider cannot run without it, else empty.
    """

    name: str
    ok: bool
    found: str
    command: str = ""
    blocks: str = ""

    def __str__(self) -> str:
        """Return the sentence for an error message."""
        how = f" To get it: {self.command}." if self.command else ""
        return f"{self.name}: {self.found}.{how}"


def _missing(name: str, found: str, command: str = "", blocks: str = "tool") -> Check:
    return Check(name, ok=False, found=found, command=command, blocks=blocks)


def system_name(os_release: str, kernel: str, system: str) -> str:
    """Return ``debian``, ``fedora``, ``macos``, ``windows``, ``wsl`` or ``other``.

    Args:
        os_release: Content of /etc/os-release, or nothing.
        kernel: ``platform.release()``.
        system: ``platform.system()``.
    """
    if system in ("Darwin", "Windows"):
        return "macos" if system == "Darwin" else "windows"
    if "microsoft" in kernel.lower():
        return "wsl"
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', os_release, flags=re.MULTILINE))
    family = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".split()
    for name in ("debian", "fedora"):
        if name in family or (name == "debian" and "ubuntu" in family):
            return name
    return "other"


def this_system() -> str:
    """Return what kind of system this host is."""
    return system_name(_read("/etc/os-release"), platform.release(), platform.system())


def virtualisation(cpuinfo: str, modules: str, *, kvm_usable: bool) -> tuple[bool, str]:
    """Tell whether Linux has hardware virtualisation to offer, and what stands in the way.

    Args:
        cpuinfo: Content of /proc/cpuinfo.
        modules: Content of /proc/modules.
        kvm_usable: Whether /dev/kvm can be opened.
    """
    # ARM's cpuinfo has no such flag: there only /dev/kvm tells.
    x86 = re.search(r"^flags\s*:", cpuinfo, flags=re.MULTILINE)
    if x86 and not re.search(r"^flags\s*:.*\b(vmx|svm)\b", cpuinfo, flags=re.MULTILINE):
        return False, "off in the firmware, or this host is a virtual machine without it"
    if kvm_usable:
        return True, "on (/dev/kvm)"
    if re.search(r"^kvm_(intel|amd) ", modules, flags=re.MULTILINE):
        return False, "on, but /dev/kvm cannot be opened by this user (group kvm)"
    return False, "on, but no kvm module is loaded"


def kvm_in_use(modules: str) -> bool:
    """Tell whether a machine runs on KVM, which VirtualBox cannot share the processor with.

    Args:
        modules: Content of /proc/modules: name, size, users of each.
    """
    match = re.search(r"^kvm_(?:intel|amd) \d+ (\d+)", modules, flags=re.MULTILINE)
    return match is not None and int(match[1]) > 0


def linux_bridges(addresses: str, routes: str) -> tuple[list[str], list[str]]:
    """Return the interfaces of the default routes, and those of them that are bridges.

    Args:
        addresses: Output of ``ip -j -d address``.
        routes: Output of ``ip -j -4 route show default``.
    """
    best = json.loads(routes or "[]")
    lowest = min((route.get("metric", 0) for route in best), default=0)
    devices = [
        route["dev"] for route in best if route.get("metric", 0) == lowest and "dev" in route
    ]
    bridges = {
        link["ifname"]
        for link in json.loads(addresses or "[]")
        if link.get("linkinfo", {}).get("info_kind") == "bridge"
    }
    return devices, [device for device in devices if device in bridges]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(*command: str, **environment: str) -> str | None:
    """Return a command's output, or None where it is missing or fails.

    Args:
        command: Program and arguments.
        environment: Added to this process's.
    """
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
            env={**os.environ, **environment},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None


def _kvm_usable() -> bool:
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def how_to_get(name: str) -> str:
    """Return the command that gets one of ``COMMANDS`` on this system."""
    system = this_system()
    commands = COMMANDS[name]
    if system == "wsl":
        return (
            f"in Windows' PowerShell: {commands['windows']}"
            if "windows" in commands
            else commands["other"]
        )
    return commands.get(system, commands["other"])


def _tool(name: str, version: str | None) -> Check:
    """Return the check of a program by the output of its version command."""
    if version is None:
        return _missing(name, "not found", how_to_get(name))
    return Check(name, ok=True, found=(version.strip() or "found").splitlines()[-1])


def _vagrant() -> Check:
    return _tool("Vagrant", _vagrant_output("--version"))


def _vagrant_output(*arguments: str) -> str | None:
    """Return Vagrant's output; the folder that it would make for itself at home is not left."""
    if Path(os.environ.get("VAGRANT_HOME") or Path.home() / ".vagrant.d").exists():
        return _output("vagrant", *arguments)
    with tempfile.TemporaryDirectory() as folder:
        return _output("vagrant", *arguments, VAGRANT_HOME=folder)


def _powershell(expression: str) -> str:
    return (_output("powershell", "-NoProfile", "-Command", expression) or "").strip()


def _hardware() -> Check:
    """Return the check of hardware virtualisation on this system."""
    firmware = "switch on VT-x or AMD-V in the firmware setup"
    system = this_system()
    if system == "macos":
        ok = (_output("sysctl", "-n", "kern.hv_support") or "").strip() == "1"
        found = "on" if ok else "this Mac has none"
        return Check("virtualisation", ok, found, blocks="hardware")
    if system == "windows":
        if _powershell("(Get-CimInstance Win32_ComputerSystem).HypervisorPresent") == "True":
            found = "on, in use by Hyper-V: VirtualBox runs on top of it, slowly"
            return Check("virtualisation", ok=True, found=found)
        ok = "True" in _powershell(
            "(Get-CimInstance Win32_Processor).VirtualizationFirmwareEnabled"
        )
        return Check("virtualisation", ok, "on" if ok else "off", firmware, "hardware")
    ok, found = virtualisation(
        _read("/proc/cpuinfo"), _read("/proc/modules"), kvm_usable=_kvm_usable()
    )
    command = firmware
    if "module" in found:
        command = "sudo modprobe kvm_intel or kvm_amd"
    elif "group" in found:
        command = "sudo adduser $USER kvm"
    return Check("virtualisation", ok, found, command, "hardware")


def _vboxmanage(*arguments: str) -> str | None:
    # Windows does not put it on the PATH.
    folder = os.environ.get("VBOX_MSI_INSTALL_PATH")
    return _output(str(Path(folder) / "VBoxManage.exe") if folder else "VBoxManage", *arguments)


def virtualbox() -> list[Check]:
    """Return what a VirtualBox machine needs of this host."""
    if this_system() == "wsl":
        found = "a program of Windows: `vagrant up` in PowerShell, in a checkout on C:"
        return [_missing("VirtualBox", found)]
    checks = [_vagrant(), _tool("VirtualBox", _vboxmanage("--version")), _hardware()]
    if kvm_in_use(_read("/proc/modules")):
        command = "stop the machines of KVM, then sudo modprobe -r kvm_intel kvm_amd kvm"
        checks.append(_missing("hypervisor", "KVM has the processor", command, "hardware"))
    problem = vagrant_and_virtualbox(checks[0].found, checks[1].found)
    if problem:
        checks.append(_missing("versions", problem, VAGRANT_SITE))
    problem, cure = kvm_and_virtualbox(checks[1].found, _read(HOLDS_AT_LOAD))
    if problem:
        checks.append(_missing("KVM", problem, cure, "hardware"))
    if checks[1].ok:
        names = re.findall(r"^Name:\s+(.+)$", _vboxmanage("list", "bridgedifs") or "", re.MULTILINE)
        found = ", ".join(names) or "VirtualBox finds no interface"
        checks.append(Check("bridge to", bool(names), found, "plug in a cable", "hardware"))
    return checks


def libvirt() -> list[Check]:
    """Return what a libvirt machine needs of this host."""
    if platform.system() != "Linux":
        return [_missing("libvirt", "only on Linux")]
    plugins = (_vagrant_output("plugin", "list") or "").splitlines()
    plugin = next((line for line in plugins if line.startswith("vagrant-libvirt")), None)
    daemon = _output("virsh", "--connect", "qemu:///system", "version", "--daemon")
    checks = [_vagrant(), _tool("vagrant-libvirt", plugin), _tool("libvirt", daemon), _hardware()]
    if _vboxmanage("list", "runningvms"):
        command = "stop the machines of VirtualBox"
        checks.append(_missing("hypervisor", "VirtualBox has the processor", command, "hardware"))
    devices, bridges = _linux_bridges()
    found = ", ".join(bridges) or f"none with the default route: {', '.join(devices) or 'no route'}"
    command = how_to_get("Linux bridge")
    checks.append(Check("Linux bridge", bool(bridges), found, command, "hardware"))
    return checks


def container() -> list[Check]:
    """Return what a container needs of this host."""
    name = "systemd-nspawn"
    if platform.system() != "Linux" or not shutil.which("apt-get"):
        return [_missing(name, "this is no Debian or Ubuntu", how_to_get(name))]
    missing = [tool for tool in (name, "mmdebstrap", "nft") if not shutil.which(tool)]
    found = "found, with mmdebstrap and nftables"
    if missing:
        found = f"{', '.join(missing)} not yet: `make up` installs them"
    root = os.geteuid() == 0 or _output("sudo", "-n", "true") is not None
    rights = "root, or sudo that asks nothing" if root else "sudo would ask for a password"
    checks = [Check(name, ok=True, found=found), Check("root", root, rights, "sudo -v", "tool")]
    if root:
        checks.append(_namespaces())
    return checks


def _namespaces() -> Check:
    """Return the check of root's rights, which a container often has taken away."""
    as_root = () if os.geteuid() == 0 else ("sudo", "-n")
    allowed = _output(*as_root, "unshare", "--mount", "--net", "true") is not None
    found = "mounts and networks of its own" if allowed else "root may not make any here"
    return Check("namespaces", allowed, found, "start this container with --privileged", "tool")


def local() -> list[Check]:
    """Return what Redis and Webdis need of this host as programs of this user."""
    if platform.system() == "Windows":
        return [_missing("system", "only in WSL2, Linux and macOS")]
    make = "found" if shutil.which("make") else "not found"
    checks = [Check("make", make == "found", make, how_to_get("make"), "tool")]
    own = compiler.found()
    missing = [name for name in compiler.NAMES if name not in own]
    found = ", ".join(own.values())
    if missing:
        found = f"no {' and no '.join(missing)} that works: Zig's is taken, from PyPI"
    checks.append(Check("C compiler", not missing, found, how_to_get("C compiler")))
    headers = not missing and compiler.has_libevent(own["cc"])
    found = "headers found" if headers else "no headers: it is built, too"
    checks.append(Check("libevent", headers, found))
    return checks


def _linux_bridges() -> tuple[list[str], list[str]]:
    return linux_bridges(
        _output("ip", "-j", "-d", "address") or "",
        _output("ip", "-j", "-4", "route", "show", "default") or "",
    )


def _default_route() -> Check:
    """Return the check of the interface that a machine would be bridged to."""
    if platform.system() == "Linux":
        devices = _linux_bridges()[0]
    elif platform.system() == "Darwin":
        devices = re.findall(r"interface: (\S+)", _output("route", "-n", "get", "default") or "")
    else:
        route = "(Get-NetRoute -DestinationPrefix 0.0.0.0/0).InterfaceAlias"
        devices = _powershell(route).splitlines()
    found = ", ".join(devices) or "there is no default route"
    return Check("LAN", bool(devices), found, "plug in a cable")


def _reach(host: str) -> str:
    try:
        with socket.create_connection((host, 443), timeout=TIMEOUT_SECONDS):
            return ""
    except OSError as error:
        return str(error)


def _memory_gib() -> float:
    if match := re.search(r"^MemAvailable:\s+(\d+) kB", _read("/proc/meminfo"), flags=re.MULTILINE):
        return int(match[1]) / 1024**2
    if platform.system() == "Windows":
        return (
            int(_powershell("(Get-CimInstance Win32_OperatingSystem).FreePhysicalMemory") or 0)
            / 1024**2
        )
    size = (_output("sysctl", "-n", "hw.memsize") or "").strip()  # macOS: all there is
    return int(size) / 1024**3 if size.isdigit() else 0.0


def _space_gib() -> float:
    folder = CACHE_DIR
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / 1024**3


def _upstream() -> list[Check]:
    checks = []
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        for host, error in zip(HOSTS, pool.map(_reach, HOSTS)):  # noqa: B905  # `strict` came with 3.10
            without = f"{host} not reached ({error}); what is in the cache is used"
            checks.append(Check("upstream", not error, without if error else f"reached ({host})"))
    return checks


def _name_server() -> Check:
    # Where packages come from, as this host itself is set up; elsewhere a release host.
    targets = _output("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)")
    repository = re.search(r"https?://([^/:\s]+)", targets or "")
    host = repository[1] if repository else HOSTS[0]
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        found = f"{host} is not resolved ({error})"
        return _missing("name-server", found, "see /etc/resolv.conf", blocks="")
    return Check("name-server", ok=True, found="answers")


def _demo_port() -> Check:
    port = int(os.environ.get("PORT") or 5000)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            found = f"{port}, the demo's: {error}"
            return _missing("port", found, "make demo PORT=5001", blocks="")
    return Check("port", ok=True, found=f"{port}, the demo's, is free")


def host() -> list[Check]:
    """Return what all providers need of this host."""
    python = platform.python_version()
    python_ok = sys.version_info >= PYTHON
    beside = None if python_ok else next(filter(shutil.which, OTHER_PYTHONS), None)
    if beside:
        python, python_ok = f"{python}, too old: {beside} is taken", True
    memory, disk = _memory_gib(), _space_gib()
    cached = Counter(file.parent.name for file in CACHE_DIR.glob("*/[!.]*") if file.is_file())
    files = ", ".join(f"{name} {count}" for name, count in sorted(cached.items()))
    cache = f"files in {CACHE_DIR}: {files}" if files else f"{CACHE_DIR} is empty"
    space = f"{disk:.1f} GiB free at {CACHE_DIR}, {DISK_GIB:.0f} wanted"
    return [
        Check("system", ok=True, found=f"{this_system()}, {platform.machine()}"),
        Check("Python", python_ok, python, how_to_get("Python"), "tool"),
        Check("memory", memory >= MEMORY_GIB, f"{memory:.1f} GiB free, {MEMORY_GIB:.0f} wanted"),
        Check("disk", disk >= DISK_GIB, space),
        _default_route(),
        _name_server(),
        *_upstream(),
        _demo_port(),
        Check("cache", ok=True, found=cache),
    ]


# In the order of `auto`.
CHECKS = {
    "virtualbox": virtualbox,
    "libvirt": libvirt,
    "container": container,
    "local": local,
}


def obstacles(provider: str, *, hardware: bool) -> list[Check]:
    """Return what keeps this host from running a provider.

    Args:
        provider: Its name.
        hardware: Whether what a person may know better counts too: virtualisation, bridges.
    """
    return [
        check
        for check in CHECKS[provider]()
        if not check.ok and (check.blocks == "tool" or (hardware and check.blocks == "hardware"))
    ]
