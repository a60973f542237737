"""The role source_build with a tiny release of its own: when it builds, and what a cut leaves."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import os
import signal
import subprocess
import tarfile
import tempfile
import threading
import time

import pytest
import yaml

from tests.provisioning import ENVIRONMENT, changed, command, provision

HELD_SECONDS = 120
# Waits at the step that is named in the file, so that a run can be cut there. Steps
# that are one command of the role wait in the place of that command.
HOLD = """#!/bin/sh
if [ "$(cat /run/probe/hold 2>/dev/null)" = "$1" ]; then
    touch /run/probe/held
    while [ -e /run/probe/hold ]; do sleep 0.1; done
fi
"""
WRAPPER = """#!/bin/sh
case "$*" in *probe*|*current*|*source.tar.gz*) hold {tool} ;; esac
exec /usr/bin/{tool} "$@"
"""
WRAPPED = ("tar", "mv", "ln")
CONFIGURE = """#!/bin/sh
hold configure
echo "int puts(const char *); int main(void) { return puts(\\"$VERSION\\") < 0; }" >probe.c
"""
MAKEFILE = """\
probe: probe.c
	hold make
	$(CC) -o $@ probe.c
	echo {version} >>/run/probe/builds
install:
	mkdir -p $(PREFIX)/bin
	hold install
	install -m 0755 probe $(PREFIX)/bin
"""
MAKE = "VERSION={version} sh configure && make"


class Origin(http.server.SimpleHTTPRequestHandler):
    """Serves the archives; stops in the middle of one for as long as it is told to."""

    stalled, released = threading.Event(), threading.Event()

    def log_message(self, *args):
        """Keep the test's output clean."""

    def copyfile(self, source, outputfile):
        if Origin.released.is_set():
            return super().copyfile(source, outputfile)
        outputfile.write(source.read(100))
        outputfile.flush()
        Origin.stalled.set()
        return Origin.released.wait(HELD_SECONDS)


class Probe:
    """A program that says its version, and how to have the role build it."""

    def __init__(self, server, folder, address):
        self.server, self.folder, self.address = server, folder, address
        self.cache = folder / "cache"
        self.playbook = folder / "playbook.yml"
        role = {"ansible.builtin.include_role": {"name": "webdis_kit.server.source_build"}}
        play = {
            "hosts": "redis_primary",
            "become": True,
            "gather_subset": ["min", "hardware", "distribution", "network"],
            "tasks": [role],
        }
        self.playbook.write_text(yaml.safe_dump([play]))

    def candidate(self, version, content=""):
        """Make the archive of a version; ``content`` makes it another archive."""
        name = f"probe-{version}{content}.tar.gz"
        files = {
            "configure": CONFIGURE,
            "Makefile": MAKEFILE.format(version=version),
            "README": content,
        }
        if not (self.folder / name).exists():
            with tarfile.open(self.folder / name, "w:gz") as archive:
                for path, text in files.items():
                    entry = tarfile.TarInfo(f"probe-{version}/{path}")
                    entry.size = len(text)
                    archive.addfile(entry, io.BytesIO(text.encode()))
        digest = hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
        url = f"{self.address}/{name}"
        return {"version": version, "url": url, "filename": name, "sha256": digest}

    def variables(self, candidate, **more):
        return {
            "source_build_name": "probe",
            "source_build_candidates": [candidate],
            "source_build_cache_dir": str(self.cache),
            "source_build_make": MAKE.format(version=candidate["version"]),
            "source_build_install": "make install",
            **more,
        }

    def build(self, candidate, **more):
        return provision(playbook=self.playbook, **self.variables(candidate, **more))

    def cut(self, candidate, step):
        """Kill Ansible when the build has reached ``step``; return what is current then."""
        self.server.run_test(f"rm -f /run/probe/held; umask 022; echo {step} >/run/probe/hold")
        if step == "download":
            Origin.stalled.clear()
            Origin.released.clear()
        run = subprocess.Popen(
            command(self.playbook, **self.variables(candidate)),
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + HELD_SECONDS
        while not (Origin.stalled.is_set() if step == "download" else self.held()):
            assert time.monotonic() < deadline, f"{step} was never reached"
            assert run.poll() is None, f"the run was over before it reached {step}"
            time.sleep(0.1)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        said = self.says()
        # What runs on the server outlives the run that started it, and goes on now.
        self.server.run_test("rm -f /run/probe/hold")
        Origin.released.set()
        return said

    def held(self):
        return self.server.file("/run/probe/held").exists

    def says(self):
        return self.server.run("/opt/probe/current/bin/probe").stdout.strip()

    def builds(self):
        return self.server.run("cat /run/probe/builds").stdout.split()

    def leftovers(self):
        return self.server.run("ls -d /opt/probe/*.partial").stdout


@pytest.fixture(scope="module")
def probe(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    clean = "rm -rf /opt/probe /run/probe /usr/local/bin/hold"
    clean += "".join(f" /usr/local/bin/{tool}" for tool in WRAPPED)
    server.run_test(clean)
    server.run_test("install -d -m 1777 /run/probe")
    scripts = {"hold": HOLD} | {tool: WRAPPER.format(tool=tool) for tool in WRAPPED}
    for name, text in scripts.items():
        server.run_test(f"cat >/usr/local/bin/{name} <<'EOF'\n{text}\nEOF")
        server.run_test(f"chmod 0755 /usr/local/bin/{name}")
    handler = functools.partial(Origin, directory=str(folder))
    Origin.released.set()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as origin:
        thread = threading.Thread(target=origin.serve_forever)
        thread.start()
        probe = Probe(server, folder, f"http://127.0.0.1:{origin.server_port}")
        changed(probe.build(probe.candidate("1.0")))
        yield probe
        origin.shutdown()
        thread.join()
    server.run_test(clean)


def test_wrong_digest_stops_before_anything_is_built(probe):
    before = probe.says(), probe.builds()
    run = probe.build(probe.candidate("2.0") | {"sha256": "0" * 64})
    assert run.returncode
    assert "0" * 64 in run.stdout
    assert (probe.says(), probe.builds()) == before


def test_failed_build_shows_its_end_and_changes_nothing(probe):
    before = probe.says()
    run = probe.build(probe.candidate("2.1"), source_build_make="echo the last words; false")
    assert run.returncode
    assert "the last words" in run.stdout
    assert "build.log" in run.stdout
    assert probe.says() == before


@pytest.mark.timeout(1200)  # nine runs, on a machine that may be busy
def test_cut_at_any_step_leaves_what_was_and_the_next_run_goes_on(probe):
    second = probe.candidate("2.2")
    for step in ("download", "tar", "configure", "make", "install", "mv", "ln"):
        assert probe.cut(second, step) == "1.0", f"cut at {step}"
    changed(probe.build(second))
    assert probe.says() == "2.2"
    assert probe.leftovers() == ""
    built = probe.builds()

    # A release that cannot be reached is no reason to build what is there again.
    first = probe.candidate("1.0")
    nowhere = first | {"version": "99.0", "filename": "99.0.tar.gz", "url": "http://127.0.0.1:1/a"}
    changed(probe.build(first, source_build_candidates=[nowhere, first]))
    assert probe.says() == "1.0"
    assert probe.builds() == built, "a rollback must not build again"


@pytest.mark.timeout(600)
def test_builds_again_for_another_digest_or_option_and_not_otherwise(probe, server):
    archive = probe.candidate("3.0")
    assert server.run("install -D /dev/null /opt/probe/mine/kept").rc == 0
    for count, (candidate, make) in enumerate(
        [
            (archive, MAKE.format(version="3.0")),
            (probe.candidate("3.0", content="patched"), MAKE.format(version="3.0")),
            (archive, MAKE.format(version="option")),
        ],
        start=1,
    ):
        changed(probe.build(candidate, source_build_make=make, source_build_keep=1))
        assert probe.builds().count("3.0") == count
    assert changed(probe.build(archive, source_build_make=make, source_build_keep=1)) == 0
    assert probe.says() == "option"
    folders = server.run("find /opt/probe -mindepth 1 -maxdepth 1 -type d").stdout.split()
    assert "/opt/probe/mine" in folders, "it is none of the role's"
    assert len(folders) <= 3, "one older build was to be kept"
    # As after an upgrade of the system: what is there was built with another C library.
    older = "sed -i 's/glibc [0-9.]*/glibc 1.0/' /opt/probe/*/.source_build.json"
    assert server.run(f"{older} && rm /opt/probe/.choice.json").rc == 0
    changed(probe.build(archive, source_build_make=make, source_build_keep=1))
    assert probe.builds().count("3.0") == count + 1


def test_a_build_that_cannot_serve_does_not_become_current(probe):
    before = probe.says()
    check = 'echo "it says $("$PREFIX"/bin/probe)."; false'
    run = probe.build(probe.candidate("2.3"), source_build_check=check)
    assert run.returncode
    said = " ".join(run.stdout.split())
    assert "probe 2.3 is not made current (" in said
    assert " stays): it says 2.3." in said
    assert probe.says() == before
    built = probe.builds()
    changed(probe.build(probe.candidate("2.3"), source_build_check="true"))
    assert (probe.says(), probe.builds()) == ("2.3", built)


def test_a_service_s_user_executes_what_was_built_under_umask_027(probe, server):
    kept = "cp -p /etc/login.defs /root/login.defs"
    assert server.run(f"{kept} && echo UMASK 027 >>/etc/login.defs").rc == 0
    try:
        # A login of its own has the new umask: one for all tasks, whose path must be short.
        with tempfile.TemporaryDirectory(prefix="kit-ssh-") as folder:
            alone = f"-o ControlMaster=auto -o ControlPersist=10 -o ControlPath={folder}/master"
            changed(probe.build(probe.candidate("2.4"), ansible_ssh_args=alone))
        assert server.run("runuser -u nobody -- /opt/probe/2.4/bin/probe").rc == 0
    finally:
        server.run_test("mv /root/login.defs /etc/login.defs")


def test_what_is_built_stays_where_no_archive_can_be_had(probe):
    before = probe.says()
    gone = probe.candidate("2.5") | {"url": "http://127.0.0.1:1/a", "filename": "gone.tar.gz"}
    run = probe.build(gone, source_build_optional=True)
    assert changed(run) == 0
    assert "which is built, stays" in " ".join(run.stdout.split())
    assert probe.says() == before


def test_a_finished_build_that_is_damaged_is_built_again(probe, server, tmp_path):
    archive = probe.candidate("2.6")
    changed(probe.build(archive, source_build_binary_cache_dir=str(tmp_path)))
    (finished,) = tmp_path.iterdir()
    finished.write_bytes(finished.read_bytes()[:-20])
    assert server.run("rm -r /opt/probe/2.6 /opt/probe/.choice.json").rc == 0
    run = probe.build(archive, source_build_binary_cache_dir=str(tmp_path))
    changed(run)
    assert f"{finished} is damaged: it is built again." in " ".join(run.stdout.split())
    assert probe.builds().count("2.6") == 2
    assert gzip.decompress(finished.read_bytes())
