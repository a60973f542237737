#!/bin/sh
# Run in the VM, as root, where the host has no Ansible (Windows): the kit's own pinned
# Ansible, and an inventory of this machine alone.
set -eu
if ! dpkg-query --show python3-venv >/dev/null 2>&1; then
    apt-get -qq update
    apt-get -qq install -y --no-install-recommends python3-venv
fi
[ -x /opt/webdis-kit/bin/pip ] || python3 -m venv /opt/webdis-kit
/opt/webdis-kit/bin/pip install --quiet --disable-pip-version-check --require-hashes \
    --requirement /vagrant/requirements/ops.txt
ln -sf /opt/webdis-kit/bin/ansible /opt/webdis-kit/bin/ansible-playbook /usr/local/bin/
cd /vagrant
mkdir -p .kit
/opt/webdis-kit/bin/python -m kit local-inventory >/etc/webdis-kit/inventory.yml
