#!/bin/sh
# Lay out the programs under test, then run `python -m bench`. Called by `make bench`.
#
# Redis and Webdis are the running instance's own builds with its own
# configuration, nginx with Nchan comes from the same distribution: a copy of the
# instance's root file system. They run on this host by chroot, so that all
# systems share one kernel and the loopback.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || {
        echo "Error: the benchmark needs root, and sudo would ask for a password: run \`sudo -v\` first." >&2
        exit 1
    }
    exec sudo -n --preserve-env=QUICK,PARTS,REPEATS,SYSTEMS,XDG_CACHE_HOME,HOME "$0"
fi
if [ -z "${BENCH_NAMESPACES:-}" ]; then
    # What is mounted and started below is gone with this process.
    exec env BENCH_NAMESPACES=own unshare --mount --pid --fork --kill-child --mount-proc "$0"
fi

name=$(.venv/bin/python -c 'from kit.checkout import read_instance; print(read_instance()["name"])')
instance=/var/lib/webdis-kit/$name/closed/rootfs
lab=/var/lib/webdis-kit/$name/closed/bench
if [ ! -d "$instance" ]; then
    echo "Error: the benchmark takes its programs from a container instance: make destroy; make up PROVIDER=container." >&2
    exit 1
fi
# The instance's data and logs stay where they are.
mkdir -p "$lab"
rm -rf "$lab/opt" "$lab/etc/redis" "$lab/etc/webdis"
tar -C "$instance" --one-file-system --exclude='./var/lib/redis/*' --exclude='./var/log/*' \
    --exclude='./proc/*' --exclude='./run/*' --exclude='./dev/*' --exclude=./var/lib/dpkg \
    --exclude=./var/lib/apt -cf - . | tar -C "$lab" -xf -
[ -d "$lab/var/lib/dpkg" ] || cp -a "$instance/var/lib/dpkg" "$instance/var/lib/apt" "$lab/var/lib/"
mkdir -p "$lab/dev" "$lab/proc" "$lab/bench"
mount --bind /dev "$lab/dev"
mount -t proc proc "$lab/proc"
if ! chroot "$lab" dpkg-query -W libnginx-mod-nchan >/dev/null 2>&1; then
    echo "Installing into the copy: nginx libnginx-mod-nchan"
    cp -L /etc/resolv.conf "$lab/etc/resolv.conf"
    printf '#!/bin/sh\nexit 101\n' >"$lab/usr/sbin/policy-rc.d" # starts no service
    chmod 0755 "$lab/usr/sbin/policy-rc.d"
    chroot "$lab" sh -c 'apt-get -q update && DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends nginx libnginx-mod-nchan' \
        >.kit/logs/bench-install.log 2>&1 || {
        tail -n 15 .kit/logs/bench-install.log
        echo "Error: Nchan could not be installed; check the network, then run \`make bench\` again." >&2
        exit 1
    }
fi
# Of Debian, only 12 has it.
if [ ! -d "$lab/bookworm" ]; then
    echo "Installing beside it: a Debian 12 with pushpin"
    rm -rf "$lab/bookworm.partial"
    mmdebstrap --variant=minbase --include=pushpin --dpkgopt='path-exclude=/usr/share/doc/*' \
        bookworm "$lab/bookworm.partial" >.kit/logs/bench-pushpin.log 2>&1 || {
        tail -n 15 .kit/logs/bench-pushpin.log
        echo "Error: Pushpin could not be installed; check the network, then run \`make bench\` again." >&2
        exit 1
    }
    mkdir "$lab/bookworm.partial/bench"
    mv "$lab/bookworm.partial" "$lab/bookworm"
fi
mount --bind "$lab/bench" "$lab/bookworm/bench"
mount --bind /dev "$lab/bookworm/dev"
mount -t proc proc "$lab/bookworm/proc"
status=0
.venv/bin/python -m bench "$lab" || status=$?
chown -R --reference=bench bench/results docs/benchmark.md 2>/dev/null || true
exit "$status"
