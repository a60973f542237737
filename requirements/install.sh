#!/bin/sh
# install.sh GROUP: install requirements/GROUP.txt into .venv, which is made on
# first use, together with what that needs from the system.
set -eu
cd "$(dirname "$0")/.."
group=$1

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt() {
    as_root "$PWD/kit/apt_get.sh" -qq "$@" >/dev/null
}

# Another Python may be installed beside one that is too old, as Ubuntu 22.04 can have.
find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        ! "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null || return 0
    done
    if python3 -c 'import sys; sys.exit(sys.version_info >= (3, 11))' 2>/dev/null; then
        echo "$(python3 --version) is too old: Python 3.11 or newer is needed." \
            "See docs/troubleshooting.md#python-too-old." >&2
        exit 1
    fi
    return 1
}

requirements/check.sh
if [ ! -e .venv/made_for ]; then
    if ! find_python; then
        if ! command -v apt-get >/dev/null; then
            echo "Python with venv is missing: install Python 3.11 or newer." \
                "See docs/troubleshooting.md#python-too-old." >&2
            exit 1
        fi
        echo "Installing system packages: python3 python3-venv"
        if ! { apt update && apt install -y --no-install-recommends python3 python3-venv; }; then
            echo "That failed; run \`sudo -v\` first if sudo wants a password, or check the network." \
                "See docs/troubleshooting.md#packages-cannot-be-installed." >&2
            exit 1
        fi
        find_python
    fi
    [ ! -d .venv ] || echo "The Python environment in .venv is of another folder or Python: making it anew."
    rm -rf .venv
    "$python" -m venv --without-pip .venv
    requirements/check.sh --write
fi

# The pip that is there serves this environment too, from 22.3 on. To bring one along takes as
# long as to install the demo.
pip=".venv/bin/python -m pip"
if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    if python3 -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (22, 3))' \
        2>/dev/null; then
        pip="python3 -m pip --python .venv/bin/python"
    else
        .venv/bin/python -m ensurepip >/dev/null
    fi
fi

start=$(date +%s)
mkdir -p .kit/logs
chmod 0700 .kit
log=.kit/logs/$(date +%Y%m%d-%H%M%S)-python-$group.log
echo "Python packages ($group), log: $log"
# What a person's pip configuration says of users does not hold in an environment.
# What is used is compiled when it is first used; most of Ansible never is.
install() {
    $pip install --disable-pip-version-check --no-user --no-compile --require-hashes --requirement "$1" >>"$log" 2>&1
}
# A group that has a pip of its own gets it first: it takes half the time of Debian 12's for the rest.
own_pip() {
    own=$(sed -n '/^pip==/,/# via/p' "requirements/$group.txt")
    [ -n "$own" ] || return 0
    echo "$own" >.venv/pip.txt
    install .venv/pip.txt || return
    pip=".venv/bin/python -m pip"
}
if ! { own_pip && install "requirements/$group.txt"; }; then
    # pip names its cause in its last line, but for one: without a network it knows no version.
    cause=$(sed -n 's/^ERROR: //p' "$log" | tail -n 1)
    ! grep -qiFf kit/no_network.txt "$log" || cause="No answer came from the network."
    echo "Error: the Python packages of requirements/$group.txt could not be installed. $cause" \
        "The whole log is $log; see docs/troubleshooting.md#packages-cannot-be-installed." >&2
    exit 1
fi
# The publisher and the collection are found as they stand in this checkout.
packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$PWD/clients/python/src" >"$packages/webdis_progress.pth"
mkdir -p "$packages/ansible_collections/webdis_kit"
ln -sfn "$PWD/ansible" "$packages/ansible_collections/webdis_kit/server"
touch ".venv/$group.stamp"
echo "Python packages ($group): $(($(date +%s) - start)) s"
