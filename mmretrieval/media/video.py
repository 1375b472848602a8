"""Videos: clips of some seconds, seen as frames at the middles of equal parts, chosen by presentation time.

Times are seconds from the container's start, as a player shows them. A frame is shown from its own time until the
next frame's, so the frame at t is the last one whose time is not after t, whatever the frame rate does. PyAV reads
by default; decord can be chosen, and is wrong near key frames of HEVC with open groups of pictures.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmretrieval.errors import MediaError, pick
from mmretrieval.media.containers import stated_end
from mmretrieval.media.image import MAX_PIXELS, STILL_BRANDS, fit
from mmretrieval.media.subtitles import subtitles
from mmretrieval.types import Content, Cut, Settings

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from PIL.Image import Image

SUFFIXES = frozenset(".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .m2ts .mts .ogv .flv .wmv .3gp".split())  # noqa: SIM905
MAX_CLIPS = 20_000
"""44 hours of clips of 8 s: beyond it the timestamps are broken, or the file should be split."""

TOLERANCE = 1e-6
"""Containers state their start in whole microseconds, so a frame due exactly at t may seem to come this much later."""

FAR = 20.0
"""Seconds: a frame further ahead than this is sought, a nearer one is reached by decoding on."""

_SOUND_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P "})
_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})

Reader = Callable[[Path, Sequence[Sequence[float]], int], Iterator[tuple["Image", ...]]]


def recognise(head: bytes) -> bool:
    """Whether the file begins like a container that may hold a video (only opening it tells whether it does)."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in STILL_BRANDS | _SOUND_BRANDS
    if head[4:8] in _BOXES and len(head) > 16:
        return int.from_bytes(head[:4]) >= 8 or head[:4] == b"\0\0\0\x01"
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if head[:4] == b"OggS":
        return b"\x80theora" in head
    transport = any(len(head) > at + 376 and head[at] == head[at + 188] == head[at + 376] == 0x47 for at in (0, 4))
    return transport or head.startswith((b"\x1a\x45\xdf\xa3", b"\0\0\1\xba", b"FLV\1", b"\x30\x26\xb2\x75\x8e\x66\xcf"))


# --- cutting --------------------------------------------------------------------------------------------------------


def cut(path: Path, settings: Settings) -> list[Cut]:
    """Clips of `settings.clip_seconds`, found from the packets' times alone, with the subtitles that overlap them.

    A last remainder of less than half a clip joins the one before. Raises MediaError for a file without video
    frames, one whose end is missing, and timestamps that make no sense.
    """
    with _opened(path) as opened:
        seconds = opened.timeline(path)[1]
    spoken = subtitles(path)
    clips = []
    for t0, t1 in spans(seconds, settings.clip_seconds):
        words = "\n".join(line.text for line in spoken if line.start < t1 and line.end > t0)
        clips.append(Cut(f"t={t0:.3f}-{t1:.3f}", t0, t1, text=words))
    return clips


def seconds(path: Path) -> float:
    """When the last frame ends, from the packets' times alone; raises MediaError as `cut` does."""
    with _opened(path) as opened:
        return opened.timeline(path)[1]


def spans(seconds: float, clip: float) -> list[tuple[float, float]]:
    """The times of `seconds` in parts of `clip` seconds, to the millisecond; the last part is 0.5 to 1.5 clips long,
    or all there is."""
    if seconds / clip > MAX_CLIPS:
        raise MediaError(
            f"the video's timestamps span {seconds:.0f} s, which is more than {MAX_CLIPS} clips of {clip:g} s: "
            "remux it (its timestamps may be broken) or split it"
        )
    whole, rest = divmod(seconds, clip)
    count = max(1, int(whole) + (rest >= clip / 2))
    edges = [round(n * clip, 3) for n in range(count)] + [round(max(seconds, 0.001), 3)]
    return list(pairwise(edges))


def frame_times(place: Cut, count: int) -> list[float]:
    """The middles of `count` equal parts of a clip, in seconds."""
    t0, t1 = place.t0 or 0.0, place.t1 or 0.0
    return [t0 + (n + 0.5) * (t1 - t0) / count for n in range(count)]


def read(path: Path, cuts: Sequence[Cut], settings: Settings) -> Iterator[Content]:
    """`settings.frames_per_clip` frames of each clip; a clip of fewer frames repeats them.

    The file is opened once and decoded forwards through cuts in order; two decoded frames are held at a time.
    Raises MediaError where decoding fails, UnknownName for a reader that is not in READERS.
    """
    reader = pick(READERS, settings.video_reader, "video reader")
    times = [frame_times(place, settings.frames_per_clip) for place in cuts]
    for frames in reader(path, times, settings.frame_side):
        yield Content(frames=frames)


# --- the container --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Opened:
    """An open container, its moving pictures, and the time (s) at which it starts."""

    container: InputContainer
    stream: VideoStream
    origin: float

    def seconds(self, stamp: int) -> float:
        """A timestamp of the stream in seconds from the container's start."""
        return float(stamp * (self.stream.time_base or 0)) - self.origin

    def stamp(self, seconds: float) -> int:
        """The last timestamp of the stream that is not after that many seconds from the container's start."""
        base = float(self.stream.time_base or 1)
        return int((seconds + self.origin + TOLERANCE) // base)

    def timeline(self, path: Path) -> tuple[list[float], float]:
        """The rising times of all frames and when the last one ends (s), from the packets, without decoding."""
        self._refuse_cut_off(path)
        shown: dict[int, int] = {}
        for packet in self.container.demux(self.stream):
            if packet.size and not packet.is_discard and (stamp := _stamp(packet)) is not None:
                shown[stamp] = packet.duration or 0
        if not shown:
            raise MediaError("the video track holds no frame: remove the file or copy it again")
        stamps = sorted(shown)
        times = [self.seconds(stamp) for stamp in stamps]
        usual = times[-1] - times[-2] if len(times) > 1 else 1 / float(self.stream.average_rate or 25)
        last = float(shown[stamps[-1]] * (self.stream.time_base or 0)) or usual
        return times, times[-1] + last

    def _refuse_cut_off(self, path: Path) -> None:
        end = max((entry.pos + entry.size for entry in self.stream.index_entries), default=0)
        with path.open("rb") as file:
            end = max(end, stated_end(file.read(4096)) or 0)
        size = path.stat().st_size
        if end > size:
            raise MediaError(f"the video is cut off: {size} of at least {end} bytes are there; copy it again")


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    """The file's first real video track; everything that goes wrong inside is a MediaError."""
    import av
    from av.stream import Disposition

    # A hostile file may name others: only plain files are opened, and "file:" keeps odd names from being protocols.
    place = f"file:{path.absolute()}"
    try:
        with av.open(place, options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
            tracks = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            if not tracks:
                raise MediaError("the file holds no video track (sound only?): remove it or rename it")
            stream = tracks[0]
            codec = stream.codec_context
            if codec is None or stream.time_base is None:
                raise MediaError("the video's codec is not known here: convert it to H.264")
            if codec.width * codec.height > MAX_PIXELS:
                raise MediaError(
                    f"the video's frames have {codec.width} x {codec.height} pixels; the limit is "
                    f"{MAX_PIXELS // 1_000_000} megapixels: save a smaller copy"
                )
            # One thread a file: workers share out the cores, and broken files then fail the same way every time.
            codec.thread_count = 1
            start = container.start_time
            origin = start / 1e6 if start is not None else float((stream.start_time or 0) * stream.time_base)
            yield _Opened(container, stream, origin)
    except MemoryError as error:
        raise MediaError("decoding the video needs more memory than a reader may take: make it smaller") from error
    except (av.FFmpegError, OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"the video cannot be read ({reason}): convert it or copy it again") from error


def _stamp(timed: Packet[VideoStream] | VideoFrame) -> int | None:
    return timed.pts if timed.pts is not None else timed.dts  # AVI states no presentation times


# --- PyAV -----------------------------------------------------------------------------------------------------------


def read_pyav(path: Path, times: Sequence[Sequence[float]], side: int) -> Iterator[tuple[Image, ...]]:
    """For each clip the frames shown at its times (s), by PyAV; exact for B-frames, open GOPs and variable rates."""
    with _opened(path) as opened:
        film = _Film(opened)
        for clip in times:
            frames: list[Image] = []
            previous: VideoFrame | None = None
            for t in clip:
                frame = film.at(t)
                frames.append(frames[-1] if frame is previous else _picture(frame, opened.stream, side))
                previous = frame
            yield tuple(frames)


class _Film:
    """Walks forwards through a track: the frame shown now, and the one after it."""

    def __init__(self, opened: _Opened) -> None:
        self.opened = opened
        self.shown: VideoFrame | None = None
        self.next: VideoFrame | None = None
        self.frames: Iterator[VideoFrame] | None = None

    def at(self, t: float) -> VideoFrame:
        """The frame shown at t seconds; the first one for an earlier t."""
        back = t + TOLERANCE < self._time(self.shown or self.next)
        far = self.next is not None and self._time(self.next) < t - FAR
        if self.frames is None or back or far:
            self._start(t)
        while self.next is not None and self._time(self.next) <= t + TOLERANCE:
            self.shown, self.next = self.next, self._decode()
        if self.shown is None and self.next is None:
            raise MediaError("not one frame of the video can be decoded: convert it or copy it again")
        found = self.shown or self.next
        assert found is not None
        if self.next is None:
            self._refuse_after_end(found, t)
        return found

    def _time(self, frame: VideoFrame | None) -> float:
        stamp = _stamp(frame) if frame is not None else None
        return self.opened.seconds(stamp) if stamp is not None else 0.0

    def _refuse_after_end(self, last: VideoFrame, t: float) -> None:
        """A last frame that should long have been followed by others means that these are lost."""
        end = self._time(last) + float((last.duration or 0) * (self.opened.stream.time_base or 0))
        if t > end + 1.0:
            raise MediaError(f"the video states frames at {t:.1f} s, but decoding ends at {end:.1f} s: copy it again")

    def _decode(self) -> VideoFrame | None:
        assert self.frames is not None
        for frame in self.frames:
            if _stamp(frame) is not None:
                return frame
        return None

    def _start(self, t: float) -> None:
        """Stands at a frame at or before t, from which on every frame decodes as if from the beginning.

        Decoding starts one key frame before the one that governs t. Frames that follow a key frame in the file but
        precede it in time (open groups of pictures) need the group before, and a container that seeks by decoding
        time may land on a key frame that is shown after t.
        """
        container, stream = self.opened.container, self.opened.stream
        target = self.opened.stamp(t)
        governing: tuple[int, int] | None = None
        bound = target
        while (key := self._key_frame(bound)) is not None:
            if governing is not None and key[0] >= governing[0]:
                break  # nothing earlier: the governing key frame is the first
            if governing is not None and governing[0] <= target:
                break  # one before the governing one
            governing, bound = key, min(key) - 1
        if key is None or governing is None:
            bound = self._first()
        container.seek(bound, stream=stream)
        self.frames = iter(container.decode(stream))
        self.shown, self.next = None, None
        self.next = self._decode()

    def _first(self) -> int:
        return self.opened.stream.start_time or 0

    def _key_frame(self, bound: int) -> tuple[int, int] | None:
        """(presentation, decoding) stamps of the key frame that seeking to `bound` lands on; None if there is none."""
        import av

        container, stream = self.opened.container, self.opened.stream
        try:
            container.seek(bound, stream=stream)
        except av.FFmpegError:
            return None  # before the first key frame, or a container that cannot seek there
        for packet in container.demux(stream):
            if packet.size and packet.is_keyframe:
                stamp = _stamp(packet)
                if stamp is not None:
                    return stamp, packet.dts if packet.dts is not None else stamp
        return None


def _picture(frame: VideoFrame, stream: VideoStream, side: int) -> Image:
    """The frame as it is to be shown: square pixels, upright, RGB, its long side at most `side`."""
    import PIL.Image

    image: Image = PIL.Image.fromarray(frame.to_ndarray(format="rgb24"))
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1 and 0.1 < aspect < 10:
        # The longer side grows: no detail of the other is lost before the picture is reduced.
        width, height = image.size
        stretched = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
        image = image.resize(stretched, PIL.Image.Resampling.BICUBIC)
    image = fit(image, side)
    turn = {90: "ROTATE_90", 180: "ROTATE_180", 270: "ROTATE_270"}.get(round(frame.rotation) % 360)
    return image.transpose(PIL.Image.Transpose[turn]) if turn else image


# --- decord ---------------------------------------------------------------------------------------------------------


def read_decord(path: Path, times: Sequence[Sequence[float]], side: int) -> Iterator[tuple[Image, ...]]:
    """For each clip the frames shown at its times (s), by decord.

    Frames are counted by PyAV's demuxer, since decord states times as float32. Known failure: wrong frames, without
    an error, before key frames of HEVC with open groups of pictures.
    """
    import PIL.Image

    with _opened(path) as opened:
        stamps, _ = opened.timeline(path)
    reader = _decord(path)
    if len(reader) != len(stamps):
        raise MediaError(
            f"decord counts {len(reader)} frames where the file's timestamps give {len(stamps)}: "
            "read it with video_reader = 'pyav'"
        )
    for clip in times:
        wanted = [max(0, bisect.bisect_right(stamps, t + TOLERANCE) - 1) for t in clip]
        distinct = sorted(set(wanted))
        try:
            decoded = dict(zip(distinct, reader.get_batch(distinct).asnumpy(), strict=True))
        except RuntimeError as error:
            raise MediaError(_decord_reason(error)) from error
        pictures = {n: fit(PIL.Image.fromarray(pixels), side) for n, pixels in decoded.items()}
        yield tuple(pictures[n] for n in wanted)


def _decord(path: Path) -> Any:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        return decord.VideoReader(str(path.absolute()), num_threads=1)
    except (RuntimeError, UnicodeError) as error:
        raise MediaError(_decord_reason(error)) from error


def _decord_reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"decord cannot read the video ({lines[0] if lines else error!r}): read it with video_reader = 'pyav'"


READERS: dict[str, Reader] = {"pyav": read_pyav, "decord": read_decord}
