"""The packages that drawings come from, pinned by sha256, fetched by the registries' own clients into a cache folder.

`npm pack` and `apt-get download` write the package files to CACHE/packages; they are unpacked into CACHE/unpacked, and
nothing in them is run. A file that already lies there is used as it is, once its sha256 is the one stated here.
"""

from __future__ import annotations

import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from mmretrieval.digests import sha256
from mmretrieval.errors import EncoderUnavailable


@dataclass(frozen=True)
class Package:
    """One package: its registry, name and version, its file there, and whose pictures it holds under which licence."""

    registry: str  # "npm" or "debian"
    name: str
    version: str
    file: str
    sha256: str
    author: str
    licence: str
    trained: bool  # False: only ever judged on

    @property
    def spec(self) -> str:
        """The package as its registry's client names it."""
        return f"{self.name}{'@' if self.registry == 'npm' else '='}{self.version}"


# The licence of the pictures; the packages' names and keywords are under MIT (emoji-datasource, iconify).
PACKAGES = {
    "google": Package(
        "npm",
        "emoji-datasource-google",
        "16.0.0",
        "emoji-datasource-google-16.0.0.tgz",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
        "Google (Noto Emoji)",
        "Apache-2.0",
        trained=True,
    ),
    "twitter": Package(
        "npm",
        "emoji-datasource-twitter",
        "16.0.0",
        "emoji-datasource-twitter-16.0.0.tgz",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
        "Twitter, Inc. and other contributors (Twemoji)",
        "CC-BY-4.0",
        trained=True,
    ),
    "fluent": Package(
        "npm",
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "iconify-json-fluent-emoji-flat-1.2.6.tgz",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
        "Microsoft Corporation (Fluent Emoji)",
        "MIT",
        trained=True,
    ),
    "openclipart": Package(
        "debian",
        "openclipart-png",
        "1:0.18+dfsg-19",
        "openclipart-png_1%3a0.18+dfsg-19_all.deb",
        "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
        "the authors of the Open Clip Art Library",
        "public domain",
        trained=True,
    ),
    "openclipart-texts": Package(
        "debian",
        "openclipart-svg",
        "1:0.18+dfsg-19",
        "openclipart-svg_1%3a0.18+dfsg-19_all.deb",
        "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
        "the authors of the Open Clip Art Library",
        "public domain",
        trained=True,
    ),
    "openmoji": Package(
        "npm",
        "openmoji",
        "17.0.0",
        "openmoji-17.0.0.tgz",
        "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68",
        "OpenMoji, the open-source emoji project",
        "CC-BY-SA-4.0",
        trained=False,
    ),
    "gcompris": Package(
        "debian",
        "gcompris-qt-data",
        "3.1-2",
        "gcompris-qt-data_3.1-2_all.deb",
        "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
        "the authors of GCompris and of the photographs that its READMEs name",
        "free, file by file, see its READMEs",
        trained=False,
    ),
}


def unpacked(cache: Path, name: str) -> Path:
    """The folder of a package's files, fetched and unpacked first where they are not there yet.

    Raises EncoderUnavailable where the registry's client fails or the file is not the one that is pinned.
    """
    package = PACKAGES[name]
    folder = cache / "unpacked" / name
    done = folder / ".unpacked"
    if done.is_file() and done.read_text("utf-8") == package.sha256:
        return folder
    file = _fetched(cache / "packages", package)
    folder.mkdir(parents=True, exist_ok=True)
    if package.registry == "npm":
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
    else:
        _run(["dpkg", "-x", str(file), str(folder)], package, folder)
    done.write_text(package.sha256, "utf-8")
    return folder


def _fetched(folder: Path, package: Package) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / package.file
    if not file.is_file():
        client = ["npm", "pack", "--silent"] if package.registry == "npm" else ["apt-get", "download"]
        _run([*client, package.spec], package, folder)
    if not file.is_file() or (found := sha256(file)) != package.sha256:
        wrong = f"has the sha256 {found[:12]}" if file.is_file() else "is not there"
        raise EncoderUnavailable(
            f"{file} {wrong}; expected is {package.spec} with {package.sha256[:12]}: remove it and try again, or put "
            "that package's file there by hand"
        )
    return file


def _run(command: list[str], package: Package, folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise EncoderUnavailable(
            f"{package.spec} needs the program {command[0]}, which is not installed: install it, or put {package.file} "
            f"into {folder} by hand"
        ) from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit {done.returncode}").splitlines()[-1]
        raise EncoderUnavailable(
            f"{' '.join(command)} failed ({last}): check the network, or put {package.file} into {folder} by hand"
        )
