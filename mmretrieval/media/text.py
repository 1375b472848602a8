"""Words: text and Markdown files become passages, cut where paragraphs and sentences end."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmretrieval.errors import MediaError
from mmretrieval.types import Content, Cut, Settings

SUFFIXES = frozenset({".txt", ".md", ".markdown"})
MAX_BYTES = 64 * 2**20
"""More than this is a log or a dump, and hundreds of thousands of passages."""

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1b")
_PARAGRAPH = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_HEADING = re.compile(r"^#{1,6}[ \t]+\S.*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?(?:^\1|\Z)", re.MULTILINE | re.DOTALL)
_ENDS = (
    re.compile(r"[.!?\u2026][\"')\]\u2019\u201d]*\s+|[\u3002\uff01\uff1f]"),  # of a sentence
    re.compile(r"\n"),  # of a line
    re.compile(r"\s+"),  # of a word
)

Span = tuple[int, int]


def recognise(head: bytes) -> bool:
    """Whether the bytes are words: a byte-order mark, or no NUL and hardly any control characters."""
    if not head:
        return False
    if any(head.startswith(mark) for mark, _ in _MARKS):
        return True
    if 0 in head:
        return False
    return sum(byte in _CONTROLS for byte in head) * 50 <= len(head)


def decode(data: bytes) -> str:
    """The words of some bytes, line ends as \\n: by byte-order mark, as UTF-8, else as Windows' Latin-1.

    Raises MediaError where they are no text.
    """
    if not recognise(data):
        raise MediaError("the content is not text: rename it or remove it")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    # Files that call themselves Latin-1 nearly always mean its Windows superset, with curly quotes at 0x80-0x9f.
    for candidate in [encoding] if encoding else ["utf-8", "cp1252", "latin-1"]:
        try:
            return data.decode(candidate).replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            continue
    raise MediaError(f"the byte-order mark says {encoding}, but what follows is not: save the text as UTF-8")


def cut(path: Path, settings: Settings) -> list[Cut]:
    """The file's passages; raises MediaError where it holds no words, is no text, or exceeds 64 MiB."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise MediaError(f"the text has {size / 2**20:.0f} MiB; the limit is {MAX_BYTES // 2**20}: split it")
        data = path.read_bytes()
    except OSError as error:
        raise MediaError(f"the file cannot be opened: {error.strerror or error}") from error
    return cut_text(data, settings)


def read(path: Path, cuts: Sequence[Cut], settings: Settings) -> Iterator[Content]:
    """Nothing to see for any passage: their words are in the cuts."""
    for _ in cuts:
        yield Content()


def cut_text(data: bytes, settings: Settings) -> list[Cut]:
    """Passages of about `settings.passage_chars` characters; `chars=a-b` counts characters of the decoded text.

    A passage ends where a paragraph does, or where a sentence does if a paragraph alone is too long; a heading stays
    with the paragraph below it, so a passage may be longer by the heading.
    """
    words = decode(data)
    if not words.strip():
        raise MediaError("the text holds no words: write some or remove it")
    passages = _pack(words, _blocks(words, settings.passage_chars), settings.passage_chars)
    return [Cut(f"chars={a}-{b}", text=words[a:b], visual=False) for a, b in passages]


def _blocks(words: str, limit: int) -> list[tuple[int, int, bool]]:
    """The text's paragraphs, split where longer than `limit`, as (start, end, is a heading)."""
    fences = [match.span() for match in _FENCE.finditer(words)]
    breaks = [match.span() for match in _PARAGRAPH.finditer(words)]
    headings = [m.span() for m in _HEADING.finditer(words) if not any(a <= m.start() < b for a, b in fences)]
    edges = sorted({0, len(words)} | {at for span in breaks + headings for at in span})
    starts = {a for a, _ in headings}
    found: list[tuple[int, int, bool]] = []
    for start, end in zip(edges, edges[1:], strict=False):
        trimmed = _trim(words, start, end)
        if trimmed is None:
            continue
        pieces = [trimmed] if start in starts else _split(words, trimmed, limit)
        found += [(a, b, start in starts) for a, b in pieces]
    return found


def _split(words: str, span: Span, limit: int) -> list[Span]:
    """The span in pieces of at most `limit` characters."""
    start, end = span
    pieces: list[Span] = []
    while end - start > limit:
        stop = _stop(words, start, limit)
        if piece := _trim(words, start, stop):
            pieces.append(piece)
        start = stop
    rest = _trim(words, start, end)
    return [*pieces, rest] if rest else pieces


def _stop(words: str, start: int, limit: int) -> int:
    """The last end of a sentence within `limit` characters, else of a line, else of a word, else just there."""
    for pattern in _ENDS:
        stops = [m.end() for m in pattern.finditer(words, start, start + limit)]
        if pattern is _ENDS[0]:  # what goes on with a small letter was an abbreviation
            stops = [stop for stop in stops if not words[stop : stop + 1].islower()]
        if stops and stops[-1] - start >= max(1, limit // 4):  # else the piece would hold a few words only
            return stops[-1]
    return start + limit


def _trim(words: str, start: int, end: int) -> Span | None:
    inner = words[start:end]
    if not inner.strip():
        return None
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())


def _pack(words: str, blocks: list[tuple[int, int, bool]], limit: int) -> list[Span]:
    """Neighbouring blocks joined while they fit; a heading never ends a passage unless it ends the text."""
    groups: list[Span] = []
    opened: Span | None = None  # from the first of some headings to the last of them, waiting for words
    for start, end, is_heading in blocks:
        if is_heading:
            opened = (opened[0] if opened else start, end)
            continue
        groups.append((opened[0] if opened else start, end))
        opened = None
    if opened:
        groups.append(opened)
    passages: list[Span] = []
    for start, end in groups:
        if passages and end - passages[-1][0] <= limit:
            passages[-1] = (passages[-1][0], end)
        else:
            passages.append((start, end))
    return passages
