#!/bin/sh
# Print a folder with the newest Python of Debian's next release, to be put into PATH. It runs
# from there with a C library of its own, and nothing of it is installed. Where there is no apt, or
# no network, it prints one with nothing in it: then the newest Python is one of this host.
set -eu
folder=${XDG_CACHE_HOME:-$HOME/.cache}/webdis-kit/newest-python
mkdir -p "$folder/lists/partial" "$folder/archives/partial" "$folder/bin"
echo "$folder/bin"
exec >&2
key=/usr/share/keyrings/debian-archive-keyring.gpg
if ! command -v apt-get >/dev/null || [ ! -e "$key" ]; then exit 0; fi
echo "deb [signed-by=$key] http://deb.debian.org/debian testing main" >"$folder/sources.list"
: >"$folder/status" # nothing is installed, so that it brings all libraries
export APT_CONFIG="$folder/apt.conf"
cat >"$APT_CONFIG" <<END
Dir::State::lists "$folder/lists";
Dir::State::status "$folder/status";
Dir::Cache "$folder";
Dir::Etc::sourcelist "$folder/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Debug::NoLocking "true";
END
apt-get -qq update || exit 0
name=$(apt-cache pkgnames python3. | grep -E '^python3\.[0-9]+$' | sort -V | tail -n 1)
[ ! -x "$folder/bin/$name" ] || exit 0
rm -rf "$folder/root" "$folder"/bin/* "$folder"/archives/*.deb
apt-get -qqy --download-only install "$name"
for archive in "$folder"/archives/*.deb; do dpkg-deb --extract "$archive" "$folder/root"; done
cat >"$folder/bin/$name" <<END
#!/bin/sh
exec "$folder/root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$folder/root/usr/lib/x86_64-linux-gnu" \
    "$folder/root/usr/bin/$name" "\$@"
END
chmod +x "$folder/bin/$name"
