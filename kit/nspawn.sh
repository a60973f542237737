#!/bin/sh
# nspawn.sh up NAME DIRECTORY BRIDGE GATEWAY ADDRESS SUBNET TABLE ARCHIVE PUBLIC_KEY BOOT
# nspawn.sh start NAME DIRECTORY BRIDGE GATEWAY SUBNET TABLE
# nspawn.sh down NAME DIRECTORY
# nspawn.sh remove_node NAME DIRECTORY
# nspawn.sh remove NAME DIRECTORY BRIDGE TABLE
#
# Runs a container that stands in for the virtual machine, by root: its own systemd, its
# own bridge, SSH at a fixed address. It is detached from whoever calls: where systemd is this
# host's process 1, as a unit of its own, since it would end with the session of who started it.
# BOOT is 1 or 0, whether that unit starts with this host; empty leaves it as it is.
set -eu
umask 022

# The pid of NAME's systemd-nspawn, or nothing: a pid file may name
# another process after a reboot.
nspawn_pid() {
    pid=$(cat "$directory/pid" 2>/dev/null) || return 0
    if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -- "--machine=$name "; then
        echo "$pid"
    fi
}

# The pid of its systemd, which lives on where systemd-nspawn was killed.
system_pid() {
    grep -lsz "^WEBDIS_KIT_CONTAINER=$name\$" /proc/[0-9]*/environ | while read -r file; do
        if grep -qs '^NSpid:.*[[:space:]]1$' "${file%/environ}/status"; then
            echo "$file" | cut -d/ -f3
        fi
    done
}

network() {
    if ! ip link show "$bridge" >/dev/null 2>&1; then
        ip link add "$bridge" type bridge
    fi
    ip address replace "$gateway/24" dev "$bridge"
    ip link set "$bridge" up
    if [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ]; then
        # Kept so that removing the last instance can put it back.
        touch "$(dirname "$directory")/ip_forward_was_off"
        echo 1 >/proc/sys/net/ipv4/ip_forward
    fi
    nft -f - <<NFT
table ip $table
delete table ip $table
table ip $table {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr $subnet oifname != "$bridge" masquerade
    }
}
NFT
}

unpack() {
    # Root of the container is root of this host: nobody here may run what it has made setuid.
    mkdir -p "$directory/closed"
    chmod 0700 "$directory/closed"
    [ ! -d "$root" ] || return 0
    rm -rf "$root.partial"
    mkdir "$root.partial"
    tar -xf "$archive" -C "$root.partial" --numeric-owner --xattrs
    ssh-keygen -q -t ed25519 -N "" -f "$root.partial/etc/ssh/ssh_host_ed25519_key"
    systemd-machine-id-setup --root="$root.partial"
    cat "$root.partial"/etc/ssh/ssh_host_*_key.pub >"$directory/ssh_host_keys"
    mv "$root.partial" "$root"
}

# Also where it runs: the checkout may have lost its key and made another.
let_in() {
    echo "$name" >"$root/etc/hostname"
    printf '127.0.0.1 localhost\n::1 localhost\n%s %s\n' "$address" "$name" >"$root/etc/hosts"
    printf '[Match]\nName=host0\n[Network]\nAddress=%s/24\nGateway=%s\n' "$address" "$gateway" \
        >"$root/etc/systemd/network/10-host0.network"
    (umask 077 && echo "$public_key" >"$root/root/.ssh/authorized_keys")
}

write_unit() {
    unit=webdis-$name.service
    place=/run/systemd/system
    if [ "$boot" = 1 ] || { [ -z "$boot" ] && [ -e "/etc/systemd/system/$unit" ]; }; then
        place=/etc/systemd/system
    fi
    [ "$place" = /etc/systemd/system ] || remove_unit
    mkdir -p "$place"
    cat >"$place/$unit" <<UNIT
[Unit]
Description=Container $name of webdis-kit
After=network.target

[Service]
ExecStart=$program start $name $directory $bridge $gateway $subnet $table
StandardOutput=truncate:$directory/console.log
StandardError=inherit
# systemd-nspawn makes groups of its own below the unit's, and ends what is in them.
Delegate=yes
KillMode=mixed
Slice=machine.slice

[Install]
WantedBy=multi-user.target
UNIT
    systemctl daemon-reload
    [ "$place" = /run/systemd/system ] || systemctl --quiet enable "$unit"
}

remove_unit() {
    [ -d /run/systemd/system ] || return 0
    rm -f "/run/systemd/system/webdis-$name.service" "/etc/systemd/system/webdis-$name.service" \
        "/etc/systemd/system/multi-user.target.wants/webdis-$name.service"
    systemctl daemon-reload
    # Its systemd was killed: a unit that has failed is remembered.
    systemctl reset-failed "webdis-$name.service" 2>/dev/null || true
}

# systemd-resolved's own name servers, what programs of this host ask, and NetworkManager's where that is a
# server on loopback, which no container can reach: the first file that names another one. Where none does,
# what somebody has written into the container stays.
hand_over_name_servers() {
    set -- /run/systemd/resolve/resolv.conf /etc/resolv.conf /run/NetworkManager/no-stub-resolv.conf
    for file in "$@"; do
        if grep '^nameserver' "$file" 2>/dev/null | grep -qvE '[[:space:]](127\.|::1$)'; then
            rm -f "$root/etc/resolv.conf" && cp -L "$file" "$root/etc/resolv.conf"
            return
        fi
    done
    known=$(sed -n 's/^nameserver[[:space:]]*//p' "$@" 2>/dev/null | sort -u | xargs)
    echo "Warning: this host has no name server but on its loopback (${known:-none}), which the container cannot" \
        "reach: it installs nothing that is not in its image. See docs/troubleshooting.md#no-network-in-the-container."
}

# What a unit runs at boot, too, whatever has become of the checkout by then.
start() {
    name=$1 directory=$2 bridge=$3 gateway=$4 subnet=$5 table=$6
    root=$directory/closed/rootfs
    network
    hand_over_name_servers >/dev/null
    echo $$ >"$directory/pid" # systemd-nspawn keeps it
    exec systemd-nspawn --quiet --boot "--machine=$name" "--directory=$root" \
        "--network-bridge=$bridge" --register=no --keep-unit --link-journal=no \
        --resolv-conf=off --console=pipe "--setenv=WEBDIS_KIT_CONTAINER=$name" </dev/null
}

up() {
    name=$1 directory=$2 bridge=$3 gateway=$4 address=$5 subnet=$6 table=$7 archive=$8 public_key=$9
    shift 9
    boot=$1 root=$directory/closed/rootfs program=$directory/closed/nspawn.sh
    unpack
    let_in
    network
    hand_over_name_servers
    cp "$0" "$program.new" && mv "$program.new" "$program" # one may be running
    if [ -d /run/systemd/system ]; then write_unit; fi
    [ -z "$(nspawn_pid)" ] || return 0
    end_system
    if [ -d /run/systemd/system ]; then
        systemctl start "webdis-$name"
    else
        setsid -f "$program" start "$name" "$directory" "$bridge" "$gateway" "$subnet" "$table" \
            >"$directory/console.log" 2>&1
    fi
}

# End the container's processes, which all end with the first of them.
end_system() {
    for pid in $(system_pid); do
        kill -KILL "$pid"
    done
    while [ -n "$(system_pid)" ]; do sleep 0.1; done
    # Its card goes a moment later, and the next one has the same name.
    while ip link show "vb-$name" >/dev/null 2>&1; do sleep 0.1; done
}

down() {
    name=$1 directory=$2
    pid=$(nspawn_pid)
    if [ -n "$pid" ]; then
        # systemd-nspawn asks the container to power off.
        kill -TERM "$pid"
        deadline=$(($(date +%s) + 60))
        while [ -n "$(nspawn_pid)" ]; do
            [ "$(date +%s)" -lt "$deadline" ] || kill -KILL "$pid"
            sleep 0.2
        done
    fi
    end_system
    rm -f "$directory/pid"
}

# Nothing of it is kept, so it need not be left in order: its services are not stopped one by one.
end_at_once() {
    name=$1 directory=$2
    end_system
    down "$name" "$directory"
    remove_unit
}

# One of several on the same bridge.
remove_node() {
    end_at_once "$1" "$2"
    rm -rf "$directory"
}

# The bridge is not part of down: with it there, what clients send to a stopped instance
# stays on this host; without it, passwords would leave by the default route.
remove() {
    end_at_once "$1" "$2"
    bridge=$3 table=$4
    nft delete table ip "$table" 2>/dev/null || true
    ip link delete "$bridge" 2>/dev/null || true
    if [ -z "$(ls "$(dirname "$directory")"/*/pid 2>/dev/null)" ] &&
        [ -e "$(dirname "$directory")/ip_forward_was_off" ]; then
        echo 0 >/proc/sys/net/ipv4/ip_forward
        rm -f "$(dirname "$directory")/ip_forward_was_off"
    fi
    rm -rf "$directory"
}

action=$1
shift
"$action" "$@"
