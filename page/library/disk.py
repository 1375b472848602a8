"""What a library takes on disk, part by part, so that the parts add up to the folder and none is unexplained."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.drawings import shares
from eval.judging import MARK
from eval.saving import Offer, toolbar
from eval.tables import Table
from mmretrieval.library import Library
from page.compare.judging import EXPORTS
from page.notices import escape

# The unit in which a file system says how many blocks a file takes.
BLOCK = 512
# Of each entry of a library's folder: its name to people, what it is, and whether it can be made again.
KNOWN = {
    "embeddings": ("embeddings", "the vectors of all items, by encoder: what indexes are made from", False),
    "index": ("search indexes", "find near vectors without looking at all; made again from the embeddings", True),
    "cache": ("caches", "the vectors once more, in a form that scans read at once; made again when missing", True),
    "thumbs": ("thumbnails", "the small pictures in lists of results", False),
    "transforms": ("fits of stages", "what stages such as whitening learnt from the items; fitted again", True),
    "evaluation": ("evaluation", "the dataset's own library and the reports of proofs", True),
    "uploads": ("uploaded files", "what visitors added: the only copy of it that this page knows", False),
    "judgements": ("judgements", "what people said of results", False),
    EXPORTS: (
        "exported judgements",
        "judgements as datasets, each as they were when it was exported; a new export has those of now",
        False,
    ),
    "ledger": ("ledger", "names, captions, metadata and reasons of failures", False),
    "settings": (
        "settings",
        "library.toml, the lock of whoever writes, and the note of an evaluation that made the library",
        False,
    ),
    "other": ("other files", "not made by this project", False),
}
RECIPES = (
    "indexes of recipes",
    "items as a recipe transforms them; `python -m ingest index --recipe` makes them",
    True,
)
HEADS = ("part", "on disk", "share", "can be made again", "what it is")
NUMBER = ' class="mm-number"'
NAMED = {"library.toml": "settings", "writer.lock": "settings", ".library.toml.tmp": "settings", MARK: "settings"}


@dataclass(frozen=True)
class Part:
    """One part of a library's folder: its name, what it is, its bytes on disk; `again`: whether it can be remade."""

    name: str
    says: str
    bytes: int
    again: bool


def parts(library: Library, recipe_bytes: int = 0) -> list[Part]:
    """The parts of the library's folder, the largest first; together they are every file in it.

    `recipe_bytes`: what of the indexes belongs to recipes. A sparse file counts what it takes, not its length.
    """
    found: dict[str, int] = defaultdict(int)
    for entry in _entries(library.path):
        found[_part_of(entry.name)] += _bytes(Path(entry.path))
    rows = [Part(KNOWN[key][0], KNOWN[key][1], size, KNOWN[key][2]) for key, size in found.items()]
    if recipe_bytes:
        rows = [_less(part, recipe_bytes) if part.name == KNOWN["index"][0] else part for part in rows]
        rows.append(Part(RECIPES[0], RECIPES[1], recipe_bytes, RECIPES[2]))
    return sorted((part for part in rows if part.bytes), key=lambda part: (-part.bytes, part.name))


def by_encoder(library: Library) -> dict[str, int]:
    """What each encoder's vectors, index and cache take on disk, by the encoder's spec."""
    folders = ("embeddings", "index", "cache")
    cards = library.cards()[0]
    return {spec: sum(_bytes(library.path / f / card.space) for f in folders) for spec, card in cards.items()}


def drawn(found: Iterable[Part]) -> str:
    """The parts as one bar, and as a table with their sum."""
    shown = list(found)
    total = sum(part.bytes for part in shown)
    if not total:
        return ""
    pieces = "".join(
        f'<span class="mm-disk-{n % 8}" style="flex-grow:{max(part.bytes / total, 0.002):.4f}" '
        f'title="{escape(part.name)}: {size(part.bytes)}"></span>'
        for n, part in enumerate(shown)
    )
    rows = "".join(
        f'<tr><td><span class="mm-swatch mm-disk-{n % 8}"></span>{escape(part.name)}</td>'
        f'<td class="mm-number">{size(part.bytes)}</td><td class="mm-number">{part.bytes / total:.0%}</td>'
        f"<td>{'yes' if part.again else 'no'}</td><td>{escape(part.says)}</td></tr>"
        for n, part in enumerate(shown)
    )
    heads = "".join(
        f'<th scope="col"{kind}>{head}</th>' for head, kind in zip(HEADS, ("", NUMBER, NUMBER, "", ""), strict=True)
    )
    whole = f'<tr><td>all of the folder</td><td class="mm-number">{size(total)}</td><td class="mm-number">100%</td>'
    return (
        f'<div class="mm-disk-use mm-holdings"><div class="mm-disk" aria-hidden="true">{pieces}</div>'
        f'<div class="mm-scroll"><table class="mm-table"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}{whole}<td></td><td></td></tr></tbody></table></div>{_files(shown)}</div>"
    )


def _files(shown: Sequence[Part]) -> str:
    """The bar and the table, to be saved."""
    rows = tuple((part.name, part.bytes, "yes" if part.again else "no", part.says) for part in shown)
    heads = ("part", "on disk (bytes)", "can be made again", "what it is")
    picture = shares([(part.name, float(part.bytes)) for part in shown])
    return toolbar(Offer("disk-use", "What the library takes on disk", {}, picture, Table(heads, rows).address()))


def size(count: int) -> str:
    """Bytes as people read them: megabytes of a million, gigabytes of a thousand million."""
    if count < 1e6:
        return f"{count / 1e3:,.0f} kB"
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.2f} GB"


def _less(part: Part, taken: int) -> Part:
    return Part(part.name, part.says, max(part.bytes - taken, 0), part.again)


def _part_of(name: str) -> str:
    if name.startswith("ledger.sqlite"):
        return "ledger"
    if name.startswith("judgements"):
        return "judgements"
    return NAMED.get(name, name if name in KNOWN else "other")


def _bytes(path: Path) -> int:
    """What a file, or all files below a folder, take on disk; what goes meanwhile counts nothing."""
    try:
        stat = path.lstat()
    except OSError:
        return 0
    if not path.is_dir() or path.is_symlink():
        return stat.st_blocks * BLOCK
    return sum(_bytes(Path(entry.path)) for entry in _entries(path))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from list(entries)
    except OSError:  # it has just gone, or may not be read
        return
