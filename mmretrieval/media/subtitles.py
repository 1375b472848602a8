"""Subtitles beside a video: NAME.srt or NAME.vtt -> what is said when."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path

from mmretrieval.errors import MediaError
from mmretrieval.media.text import decode

SUFFIXES = (".srt", ".vtt")

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMES = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}")
_TAGS = re.compile(r"</?[a-zA-Z][^<>\n]*>|<\d[\d:.]*>|\{\\[^{}\n]*\}")


@dataclass(frozen=True)
class Line:
    """What is said from `start` to `end` (s), without markup."""

    start: float
    end: float
    text: str


def beside(video: Path) -> Path | None:
    """The subtitle file of a video: the same name with .srt, else with .vtt (or in capitals); None if there is none."""
    named = (video.with_suffix(s) for suffix in SUFFIXES for s in (suffix, suffix.upper()))
    return next((path for path in named if path.is_file()), None)


def subtitles(video: Path) -> list[Line]:
    """The lines of the subtitle file beside a video, by time; empty without one.

    Raises MediaError where that file cannot be read, is no text, or holds not one timed line.
    """
    path = beside(video)
    if path is None:
        return []
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MediaError(f"the subtitles beside it cannot be opened: {error.strerror or error}") from error
    if not data.strip():
        return []
    try:
        lines = parse(decode(data))
    except MediaError as error:
        raise MediaError(f"the subtitles beside it ({path.suffix}) are not text: repair or remove them") from error
    if not lines:
        raise MediaError(f"the subtitles beside it ({path.suffix}) hold no timed line: repair or remove them")
    return lines


def parse(words: str) -> list[Line]:
    """The timed lines of SubRip or WebVTT text, by time; notes, styles, numbers and empty lines are left out."""
    lines = []
    for block in re.split(r"\n[ \t]*\n", words):
        rows = block.strip("\n").split("\n")
        at = next((n for n, row in enumerate(rows) if _TIMES.match(row)), None)
        if at is None:
            continue
        match = _TIMES.match(rows[at])
        assert match is not None
        said = " ".join(row.strip() for row in rows[at + 1 :] if row.strip())
        said = html.unescape(_TAGS.sub("", said)).strip()
        start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:])
        if said and end > start:
            lines.append(Line(start, end, said))
    return sorted(lines, key=lambda line: (line.start, line.end))


def _seconds(groups: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = groups
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole + int((fraction or "0").ljust(3, "0")) / 1000
