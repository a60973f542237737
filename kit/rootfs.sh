#!/bin/sh
# rootfs.sh SUITE DIRECTORY PACKAGE...
#
# Prints the path of a root file system archive of Debian SUITE with the
# PACKAGEs, and builds it first where DIRECTORY does not have it yet. Builds of
# several checkouts wait for each other.
set -eu
suite=$1 directory=$2
shift 2
packages=$(echo "$*" | tr ' ' ',')

# Part of the key, so that a changed recipe is a new archive.
recipe="4 $suite $packages"
archive=$directory/debian-$suite-$(echo "$recipe" | sha256sum | cut -c1-12).tar

# A download or a disk may have ended early. What a person put there, or an older kit, has no
# checksum beside it yet. This one takes a tenth of a second; a digest takes three.
intact() {
    if [ -e "$archive.cksum" ]; then
        [ "$(cksum <"$archive")" = "$(cat "$archive.cksum")" ]
    else
        tar -tf "$archive" >/dev/null 2>&1 && seal
    fi
}
seal() {
    cksum <"$archive" >"$archive.cksum"
}

mkdir -p "$directory"
exec 9>"$directory/.lock"
flock 9
if [ -s "$archive" ]; then
    if intact; then
        echo "$archive"
        exit 0
    fi
    echo "$archive is damaged: it is made again." >&2
    rm -f "$archive" "$archive.cksum"
fi

# Programs of the new system run where it is made: not everywhere is that allowed.
for TMPDIR in "${TMPDIR:-/tmp}" /var/tmp "$directory"; do
    probe=$(mktemp "$TMPDIR/probe.XXXXXX")
    echo '#!/bin/sh' >"$probe" && chmod 0700 "$probe"
    "$probe" 2>/dev/null && found=yes || found=no
    rm -f "$probe"
    [ $found = no ] || break
done
export TMPDIR

# Debian's mirror and its security archive as this host itself uses them; empty
# on other systems, where mmdebstrap knows the official ones.
repositories=$(apt-get indextargets --no-release-info --format '$(REPO_URI)' 2>/dev/null | sort -u)
mirror=$(echo "$repositories" | grep -m1 '/debian/$' || true)
security=$(echo "$repositories" | grep -m1 'debian-security/*$' || true)
set --
if [ -n "$mirror" ]; then
    set -- "deb $mirror $suite main" "deb $mirror $suite-updates main"
    [ -z "$security" ] || set -- "$@" "deb $security $suite-security main"
fi
apt='Acquire::Retries "3"'
# Lists of a suite that is not released are valid for a week, and a mirror may be further behind.
[ "$suite" != forky ] || apt="$apt; Acquire::Check-Valid-Until \"false\""
if ! mmdebstrap --variant=minbase --include="$packages" \
    --aptopt="$apt" \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/bin/*-lto-dump-*' \
    --dpkgopt='path-exclude=/usr/lib/*san.[as]*' \
    --customize-hook='rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/resolv.conf "$1"/etc/machine-id' \
    --customize-hook='mkdir -m 0700 -p "$1/root/.ssh"' \
    --customize-hook='systemctl --root="$1" enable systemd-networkd ssh' \
    --customize-hook='systemctl --root="$1" mask systemd-networkd-wait-online apt-daily.timer apt-daily-upgrade.timer' \
    "$suite" "$archive.partial.tar" "$@" >&2; then
    echo "No root file system of Debian $suite could be built: check the network and this" \
        "host's apt configuration, or put one made elsewhere at $archive." >&2
    exit 1
fi
mv "$archive.partial.tar" "$archive"
seal
echo "$archive"
