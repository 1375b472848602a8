"""How files become items: what a file is, where it is cut, and what an encoder sees of each cut.

A kind of media is one file of this package and one row of KINDS. Whatever is wrong with a file is a MediaError
whose text is the reason kept in the ledger; it does not repeat the path.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmretrieval.errors import MediaError
from mmretrieval.media import document, image, text, video
from mmretrieval.types import Content, Cut, Settings

if TYPE_CHECKING:
    from PIL.Image import Image

HEAD_BYTES = 4096
THUMBNAIL_SIDE = 320


@dataclass(frozen=True)
class Kind:
    """One kind of media: `recognise` looks at the first 4096 bytes, `cut` decodes no pixels, `read` yields one
    Content for each cut, in the order asked, with what can be seen there (nothing for a passage)."""

    name: str
    suffixes: frozenset[str]
    recognise: Callable[[bytes], bool]
    cut: Callable[[Path, Settings], list[Cut]]
    read: Callable[[Path, Sequence[Cut], Settings], Iterator[Content]]


KINDS: dict[str, Kind] = {
    "image": Kind("image", image.SUFFIXES, image.recognise, image.cut, image.read),
    "video": Kind("video", video.SUFFIXES, video.recognise, video.cut, video.read),
    "document": Kind("document", document.SUFFIXES, document.recognise, document.cut, document.read),
    "text": Kind("text", text.SUFFIXES, text.recognise, text.cut, text.read),
}


def recognise(path: Path) -> str | None:
    """The file's kind by its content, or None where neither name nor content speak of media.

    Words are passages only under a name that says so (.txt, .md, .markdown): else every source file would be one.
    Raises MediaError for a media name over other content, an empty file of a media name, and an unreadable file.
    """
    suffix = path.suffix.lower()
    named = next((kind.name for kind in KINDS.values() if suffix in kind.suffixes), None)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise MediaError(f"the file cannot be opened: {error.strerror or error}") from error
    if not head:
        if named:
            raise MediaError("the file is empty: remove it or copy it again")
        return None
    wordy = KINDS["text"].recognise(head)
    found = next((k.name for k in KINDS.values() if k.name != "text" and k.recognise(head)), None)
    if found or not named:
        return found
    if named == "text" and wordy:
        return named
    content = "plain text" if wordy else "in no format that is read here (or damaged at its very beginning)"
    raise MediaError(f"the file is named {suffix}, but its content is {content}: rename it or remove it")


def thumbnail(content: Content, side: int = THUMBNAIL_SIDE) -> bytes | None:
    """WebP bytes of the picture or the middle frame, its long side at most `side` pixels; None without pixels."""
    shown: Image | None = content.image
    if shown is None and content.frames:
        shown = content.frames[len(content.frames) // 2]
    if shown is None:
        return None
    buffer = io.BytesIO()
    image.fit(shown, side).save(buffer, "WEBP", quality=80, method=4)
    return buffer.getvalue()
