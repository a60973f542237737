#!/bin/sh
# apt_get.sh ARGUMENT...
#
# apt-get by root that asks nothing and waits for others: a machine that was just started installs
# updates for minutes. apt's own time-out is for dpkg's lock; `update` fails at the lists' at once.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
seconds=300
deadline=$(($(date +%s) + seconds))
complaints=$(mktemp)
trap 'rm -f "$complaints"' EXIT
while :; do
    status=0
    apt-get -o DPkg::Lock::Timeout=$seconds "$@" 2>"$complaints" || status=$?
    if [ $status = 0 ] || ! grep -q 'Could not get lock' "$complaints" || [ "$(date +%s)" -ge $deadline ]; then
        break
    fi
    sleep 1
done
cat "$complaints" >&2
exit $status
