#!/bin/sh
# box.sh ROOTFS_ARCHIVE DIRECTORY MANAGEMENT_SUBNET
#
# Makes DIRECTORY/kit.box, a libvirt box of a Debian root file system, as open as boxes
# are: Vagrant's public key for two users, a password that everybody knows, sshd that takes
# it. Its disk has a boot loader for BIOS and one for UEFI (disk.py); by pure emulation.
set -eu
archive=$1 directory=$2 management=$3
here=$(dirname "$0")
root=$directory/root
public_key=$(cat "$(ruby -e 'require "vagrant"; puts Vagrant.source_root.join("keys/vagrant.pub")')")

rm -rf "$root" "$directory/kit.box"
mkdir -p "$root"
tar -xf "$archive" -C "$root" --numeric-owner --xattrs
for user in vagrant ubuntu; do
    chroot "$root" useradd --create-home --shell /bin/bash "$user"
    echo "$user:vagrant" | chroot "$root" chpasswd
    echo "$user ALL=(ALL) NOPASSWD:ALL" >"$root/etc/sudoers.d/$user"
    mkdir -m 0700 "$root/home/$user/.ssh"
    echo "$public_key" >"$root/home/$user/.ssh/authorized_keys"
    chroot "$root" chown -R "$user:$user" "/home/$user/.ssh"
done
echo "PasswordAuthentication yes" >"$root/etc/ssh/sshd_config.d/50-cloud-init.conf"
ssh-keygen -q -A -f "$root"
systemd-machine-id-setup --root="$root" >/dev/null
echo kit >"$root/etc/hostname"
# Waits for minutes, in vain, for a device that comes late to an emulated machine.
systemctl --root="$root" mask serial-getty@ttyS0.service 2>/dev/null
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
# A network whose proxy has a CA of its own has it for the guest, too.
cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
chroot "$root" update-ca-certificates >/dev/null
# As in real boxes: the first card alone is set up.
printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/20-eth0.network"

python3 "$here/disk.py" "$root" "$directory/disk.raw"
rm -rf "$root"
mkdir -p "$directory/box"
qemu-img convert -O qcow2 "$directory/disk.raw" "$directory/box/box.img"
echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 6}' >"$directory/box/metadata.json"
cat >"$directory/box/Vagrantfile" <<RUBY
Vagrant.configure("2") do |config|
  config.vm.boot_timeout = 1800
  config.vm.provider :libvirt do |libvirt|
    libvirt.cpu_mode = "custom"
    libvirt.cpu_model = "qemu64"
    libvirt.graphics_type = "none"
    libvirt.disk_driver cache: "unsafe" # it is thrown away
    libvirt.management_network_name = "$(basename "$directory")"
    libvirt.management_network_address = "$management"
  end
end
RUBY
tar -C "$directory/box" -cf "$directory/kit.box" metadata.json box.img Vagrantfile
rm -r "$directory/box"
