#!/bin/sh
# Run in the VM, as root, where the host has no Ansible (Windows): the kit's own pinned
# Ansible, and an inventory of only this machine.
set -eu
umask 022 # whoever Ansible runs as reads it
# setfacl is how Ansible, run by the user vagrant, hands files to the user who builds.
if ! python3 -c 'import ensurepip' 2>/dev/null || ! command -v setfacl >/dev/null; then
    sh /vagrant/kit/apt_get.sh -qq update
    sh /vagrant/kit/apt_get.sh -qq install -y --no-install-recommends acl python3-venv
fi
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Error: Ansible in this VM needs Python 3.11, and it has $(python3 --version): take a newer box" \
        "(box: in vagrant/settings.local.yml), or a host that has make and Python 3.11." >&2
    exit 1
fi
[ -x /opt/webdis-kit/bin/pip ] || python3 -m venv --clear /opt/webdis-kit
/opt/webdis-kit/bin/pip install --quiet --disable-pip-version-check --require-hashes \
    --requirement /vagrant/requirements/ops.txt
# The collection as it stands in the checkout.
collections=$(/opt/webdis-kit/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ansible_collections
mkdir -p "$collections/webdis_kit"
ln -sfn /vagrant/ansible "$collections/webdis_kit/server"
ln -sf /opt/webdis-kit/bin/ansible /opt/webdis-kit/bin/ansible-playbook /usr/local/bin/
cd /vagrant
mkdir -p .kit
/opt/webdis-kit/bin/python -m kit guest-inventory >/etc/webdis-kit/inventory.yml
# Ansible runs as whoever Vagrant logs in as. A folder shared by VirtualBox has no owners.
chown -R "${SUDO_USER:-vagrant}:" .kit 2>/dev/null || true
