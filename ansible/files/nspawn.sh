#!/bin/sh
# nspawn.sh start NAME DIRECTORY BRIDGE GATEWAY SUBNET TABLE
# nspawn.sh stop NAME DIRECTORY
# nspawn.sh unplug DIRECTORY BRIDGE TABLE
#
# Runs DIRECTORY/closed/rootfs as a booted container, detached from whoever calls,
# the same way whether or not systemd is this host's process 1.
set -eu

# The pid of NAME's systemd-nspawn, or nothing: a pid file alone may name
# another process after a reboot.
running_pid() {
    pid=$(cat "$2/pid" 2>/dev/null) || return 0
    if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -- "--machine=$1 "; then
        echo "$pid"
    fi
}

start() {
    name=$1 directory=$2 bridge=$3 gateway=$4 subnet=$5 table=$6
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
    [ -z "$(running_pid "$name" "$directory")" ] || return 0

    resolv_conf=replace-host
    [ ! -e /run/systemd/resolve/resolv.conf ] || resolv_conf=replace-uplink
    # $$ is the pid that systemd-nspawn keeps.
    setsid -f sh -c 'echo $$ >"$1/pid"; shift; exec "$@"' sh "$directory" \
        systemd-nspawn --quiet --boot "--machine=$name" "--directory=$directory/closed/rootfs" \
        "--network-bridge=$bridge" --register=no --keep-unit --link-journal=no \
        "--resolv-conf=$resolv_conf" --console=pipe \
        </dev/null >"$directory/console.log" 2>&1
    echo started
}

stop() {
    name=$1 directory=$2
    pid=$(running_pid "$name" "$directory")
    if [ -n "$pid" ]; then
        # systemd-nspawn asks the container to power off.
        kill -TERM "$pid"
        deadline=$(($(date +%s) + 60))
        while [ -n "$(running_pid "$name" "$directory")" ]; do
            [ "$(date +%s)" -lt "$deadline" ] || kill -KILL "$pid"
            sleep 0.2
        done
        echo stopped
    fi
    rm -f "$directory/pid"
}

# Not part of stop: with the bridge there, what clients send to a stopped instance
# stays on this host; without it, passwords would leave by the default route.
unplug() {
    directory=$1 bridge=$2 table=$3
    nft delete table ip "$table" 2>/dev/null || true
    ip link delete "$bridge" 2>/dev/null || true
    if [ -z "$(ls "$(dirname "$directory")"/*/pid 2>/dev/null)" ] &&
        [ -e "$(dirname "$directory")/ip_forward_was_off" ]; then
        echo 0 >/proc/sys/net/ipv4/ip_forward
        rm -f "$(dirname "$directory")/ip_forward_was_off"
    fi
}

action=$1
shift
"$action" "$@"
