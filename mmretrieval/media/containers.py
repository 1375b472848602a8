"""What a container's first bytes say of the file's length: players shrug at a missing end, an ingest must not."""

from __future__ import annotations

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def stated_end(head: bytes) -> int | None:
    """Where the file ends (bytes) by its own account: Matroska, WebM and AVI; None where it does not say."""
    if head[:4] == b"RIFF":
        length = int.from_bytes(head[4:8], "little")
        return 8 + length if length else None  # nought: the recording was broken off
    if head[:4] == _EBML:
        return _matroska_end(head)
    return None


def _matroska_end(head: bytes) -> int | None:
    header = _length(head, 4)
    if header is None:
        return None
    length, at = header
    segment = at + length
    if head[segment : segment + 4] != _SEGMENT:
        return None
    body = _length(head, segment + 4)
    return body[0] + body[1] if body else None


def _length(head: bytes, at: int) -> tuple[int, int] | None:
    """An EBML length and where what it measures begins; None where it is unknown (a live stream) or broken.

    The number of leading zero bits of the first byte is the number of bytes that follow (RFC 8794, section 4); all
    value bits set means unknown.
    """
    if at >= len(head) or head[at] == 0:
        return None
    size = 9 - head[at].bit_length()
    field = head[at : at + size]
    value = int.from_bytes(field) & ((1 << 7 * size) - 1)
    if len(field) < size or value == (1 << 7 * size) - 1:
        return None
    return value, at + size
