#!/usr/bin/python
"""Find the first source archive that is in the cache or can be downloaded, and check its digest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_archive
short_description: Fetch a release archive by digest, from the cache first
description:
  - Takes the first candidate that is built already, that the cache folder holds, or that can be
    downloaded. In check mode nothing is downloaded.
  - A file whose digest differs from its candidate's is an error, never a reason to go on.
version_added: 0.1.0
author: The webdis-kit authors (@webdis-kit)
options:
  name:
    description: What the archive is of.
    type: str
    required: true
  candidates:
    description: Release archives, the one that is wanted most first.
    type: list
    elements: dict
    required: true
    suboptions:
      version:
        description: Version.
        type: str
        required: true
      url:
        description: Address. The scheme C(debian-pool:) stands for the Debian mirror in this host's
          own apt configuration, or where there is none for Debian's own host.
        type: str
        required: true
      sha256:
        description: Digest of the archive, in hex.
        type: str
        required: true
      filename:
        description: Name of the archive in the cache.
        type: str
        required: true
  built:
    description: Digests of the archives whose build is installed.
    type: list
    elements: str
    default: []
  cache_dir:
    description: Folder of archives.
    type: path
    required: true
  optional:
    description: Return no digest instead of failing where none can be had.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Find an archive
  webdis_kit.server.source_archive:
    name: redis
    candidates:
      - version: 8.0.6
        url: https://download.redis.io/releases/redis-8.0.6.tar.gz
        filename: redis-8.0.6.tar.gz
        sha256: 6d0a9913887a4972536f9da226f1575859c34d86354129163260a5f9c6bd4229
    cache_dir: ~/archives
  delegate_to: localhost
  register: archive
"""

RETURN = r"""
built:
  description: Whether the candidate was among the O(built) ones.
  type: bool
  returned: always
path:
  description: The archive in the cache; none where it is built already or none can be had.
  type: str
  returned: always
version:
  description: Version of the candidate.
  type: str
  returned: when there is one
url:
  description: Its address.
  type: str
  returned: when there is one
sha256:
  description: Its digest; none where no archive can be had.
  type: str
  returned: always
origin:
  description: C(upstream) or C(debian-pool).
  type: str
  returned: when there is one
"""

import fcntl
import hashlib
import subprocess
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

TIMEOUT_SECONDS = 10
DEBIAN_POOL = "debian-pool:"
DEBIAN = "https://deb.debian.org/debian/"


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resolve(url: str) -> list[str]:
    """Return the addresses to try for a candidate's ``url``."""
    if not url.startswith(DEBIAN_POOL):
        return [url]
    try:
        output = subprocess.run(
            ["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        output = ""  # no Debian
    mirrors = sorted({line for line in output.splitlines() if line.endswith("/debian/")})
    mirrors = mirrors or [DEBIAN]
    return [mirror + "pool/" + url.removeprefix(DEBIAN_POOL) for mirror in mirrors]


def download(url: str, path: Path) -> None:
    """Write what ``url`` answers to ``path``.

    Raises:
        OSError: The host cannot be reached or refuses, or the answer was cut off.
        http.client.HTTPException: Likewise.
    """
    with open_url(url, timeout=TIMEOUT_SECONDS) as answer, path.open("wb") as file:
        while block := answer.read(1 << 20):
            file.write(block)
        # http.client takes an end that comes too soon for the end.
        announced = answer.headers.get("Content-Length")
        if announced and file.tell() != int(announced):
            raise OSError(f"{url} ended after {file.tell()} of {announced} bytes")


def into_cache(candidate: dict[str, str], path: Path, unreachable: set[str]) -> bool:
    """Download one candidate to ``path`` and tell whether that worked.

    Args:
        candidate: One entry of the module's ``candidates``.
        path: Where to write it.
        unreachable: Hosts that have not answered in this run; added to.
    """
    for url in resolve(candidate["url"]):
        host = urlsplit(url).netloc
        if host in unreachable:
            continue
        try:
            download(url, path)
        except HTTPError:
            continue  # it answered: another release may be there
        except (OSError, ValueError, HTTPException):
            unreachable.add(host)
            continue
        return True
    return False


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "candidates": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    key: {"type": "str", "required": True}
                    for key in ("version", "url", "sha256", "filename")
                },
            },
            "built": {"type": "list", "elements": "str", "default": []},
            "cache_dir": {"type": "path", "required": True},
            "optional": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    name, candidates = module.params["name"], module.params["candidates"]
    cache_dir = Path(module.params["cache_dir"])
    cache_dir.mkdir(parents=True, exist_ok=True)
    unreachable: set[str] = set()
    with (cache_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for candidate in candidates:
            from_pool = candidate["url"].startswith(DEBIAN_POOL)
            answer = {
                "version": candidate["version"],
                "url": candidate["url"],
                "sha256": candidate["sha256"],
                "origin": "debian-pool" if from_pool else "upstream",
            }
            if candidate["sha256"] in module.params["built"]:
                module.exit_json(changed=False, built=True, path=None, **answer)
            path = cache_dir / candidate["filename"]
            file = path
            if not path.exists():
                file = cache_dir / (candidate["filename"] + ".partial")
                if module.check_mode or not into_cache(candidate, file, unreachable):
                    continue
            found = digest_of(file)
            if found != candidate["sha256"]:
                module.fail_json(
                    msg=f"{candidate['filename']} has the SHA-256 digest {found}, but "
                    f"{name} {candidate['version']} has {candidate['sha256']}; nothing was "
                    f"installed. Remove {file} and try again."
                )
            changed = file != path
            if changed:
                file.replace(path)
            module.exit_json(changed=changed, built=False, path=str(path), **answer)
    if module.params["optional"]:
        module.exit_json(changed=False, built=False, path=None, sha256=None)
    if module.check_mode:
        # Nothing was downloaded: a run would take the first that it can have.
        answer = {key: candidates[0][key] for key in ("version", "url", "sha256")}
        module.exit_json(changed=True, built=False, path=None, origin="upstream", **answer)
    wanted = ", ".join(f"{entry['filename']} ({entry['sha256'][:12]}...)" for entry in candidates)
    module.fail_json(
        msg=f"No source archive of {name} is in the cache or can be downloaded; "
        f"put one of these into {cache_dir} by hand: {wanted}."
    )


if __name__ == "__main__":
    main()
