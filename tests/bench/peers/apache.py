"""Apache with mod_auth_openidc: the newest that Debian has, built from the source of its unstable branch.

Debian's stable branch has one that is years older, which is taken where the newest cannot be built.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.foreign.hydra.program import Unavailable

from .go import cache

MODULES = Path("/usr/lib/apache2/modules")
PACKAGE = "libapache2-mod-auth-openidc"
BRANCH = "sid"
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEEDS = (
    *("apache2-bin", "apache2-dev", "autoconf", "automake", "libtool", "gcc", "make", "pkg-config"),
    *("libcjose-dev", "libcurl4-openssl-dev", "libhiredis-dev", "libjansson-dev", "libpcre2-dev", "libssl-dev"),
)


def program() -> str:
    """Apache. Raises `Unavailable`."""
    path = shutil.which("apache2", path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        raise Unavailable("there is no Apache: apt-get install apache2-bin")
    return path


def module() -> tuple[Path, str]:
    """The module and its version. Raises `Unavailable`."""
    if not (built := _built()):
        _build()
        built = _built()
    if built:
        return built[-1], built[-1].stem.rpartition("-")[2]
    if (packaged := MODULES / "mod_auth_openidc.so").exists():
        return packaged, f"{_packaged_version()} (Debian's package)"
    raise Unavailable(f"mod_auth_openidc could not be built: apt-get install {PACKAGE}")


def _built() -> list[Path]:
    return sorted(cache().glob("mod_auth_openidc-*.so"), key=lambda path: path.stat().st_mtime)


def _packaged_version() -> str:
    command = ["dpkg-query", "-W", "-f", "${Version}", PACKAGE]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition("-")[0] or "unknown"


def _build() -> None:
    """Builds it where apt can be asked, and leaves it in our cache. What fails is no more than that."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    with tempfile.TemporaryDirectory(prefix="mod_auth_openidc-") as folder:
        place = Path(folder)
        place.chmod(0o755)  # apt downloads as a user of its own
        apt = {"APT_CONFIG": str(_sources(place))}
        steps = (
            (["apt-get", "-qq", "install", "-y", "--no-install-recommends", *NEEDS], {}),
            (["apt-get", "-qq", "update"], apt),
            (["apt-get", "-qq", "source", "--download-only", PACKAGE], apt),
            (["bash", "-c", "tar --extract --strip-components=1 --file *.orig.tar.*"], {}),
            (["autoreconf", "--force", "--install"], {}),
            (["./configure", "--with-hiredis"], {}),
            (["make"], {}),
        )
        for command, more in steps:
            done = subprocess.run(command, cwd=place, env={**os.environ, **more}, capture_output=True, check=False)
            if done.returncode:
                return
        [archive] = place.glob("*.orig.tar.*")
        version = re.search(r"_([\d.]+)\.orig", archive.name)
        [made] = place.glob("**/.libs/mod_auth_openidc.so")
        if version:
            shutil.copyfile(made, cache() / f"mod_auth_openidc-{version[1]}.so")


def _sources(place: Path) -> Path:
    """apt's settings for the sources of that branch alone, from the mirror that this machine uses."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    site = next((line for line in said if "security" not in line), "")
    key = f"Signed-By: {KEYS}\n" if KEYS.exists() else ""
    for name in ("lists/partial", "cache/archives/partial"):
        (place / name).mkdir(parents=True)
    (place / "the.sources").write_text(f"Types: deb-src\nURIs: {site}\nSuites: {BRANCH}\nComponents: main\n{key}")
    settings = place / "apt.conf"
    settings.write_text(
        f'Dir::Etc::sourcelist "{place}/the.sources";\nDir::Etc::sourceparts "/dev/null";\n'
        f'Dir::State::Lists "{place}/lists";\nDir::Cache "{place}/cache";\n'
    )
    return settings
