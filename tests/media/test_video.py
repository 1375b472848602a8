"""Frames are the ones shown at their time, whatever codec, frame rate or offset; memory and time stay flat."""

from __future__ import annotations

import shutil
from bisect import bisect_right
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.errors import MediaError, UnknownName
from mmretrieval.media import video
from mmretrieval.types import Cut, Settings
from tests.assets.make_assets import X264, X265, numbered_frame, read_frame_number, vfr_times, write_video

VIDEOS = Path(__file__).parents[1] / "assets" / "videos"
SHOWN_AT = {
    "b_frames.mp4": [i / 25 for i in range(300)],
    "variable_rate.mp4": [t / 1000 for t in vfr_times(90)],
    "offset.mkv": [i / 25 for i in range(75)],  # the first timestamp, 5 s, is the container's start
    "vp9.webm": [i / 25 for i in range(75)],
    "hevc_open_gop.mp4": [i / 25 for i in range(180)],
}
DECORD_FAILS = pytest.mark.xfail(strict=True, reason="decord seeks to the nearest key frame, wrong for open groups")


def reading(reader: str) -> list[object]:
    fails = {("decord", "hevc_open_gop.mp4")}
    return [pytest.param(reader, n, marks=[DECORD_FAILS] if (reader, n) in fails else []) for n in SHOWN_AT]


EVERY = [*reading("pyav"), *reading("decord")]


def numbers(path: Path, reader: str, times: list[float]) -> list[int]:
    frames = next(video.READERS[reader](path, [times], 512))
    return [read_frame_number(np.asarray(frame)) for frame in frames]


def wanted(name: str, times: list[float]) -> list[int]:
    return [bisect_right(SHOWN_AT[name], t) - 1 for t in times]


@pytest.mark.parametrize(("reader", "name"), EVERY)
def test_every_single_frame_is_found_in_any_order(reader: str, name: str) -> None:
    shown = SHOWN_AT[name]
    middles = [(a + b) / 2 for a, b in zip(shown, [*shown[1:], shown[-1] + 0.02], strict=True)]
    shuffled = [float(t) for t in np.random.default_rng(1).permutation(middles)[:60]]
    assert numbers(VIDEOS / name, reader, shuffled) == wanted(name, shuffled)


@pytest.mark.parametrize(("reader", "name"), EVERY)
def test_a_frame_found_cold_is_the_frame_found_in_passing(reader: str, name: str) -> None:
    ends = SHOWN_AT[name][-1]
    times = [ends * n / 15 + 0.001 for n in range(15)]
    cold = [numbers(VIDEOS / name, reader, [t])[0] for t in times]
    assert cold == wanted(name, times)
    assert numbers(VIDEOS / name, reader, times) == cold


@pytest.mark.parametrize(("reader", "name"), reading("pyav"))
def test_clips_show_the_middles_of_equal_parts(reader: str, name: str) -> None:
    settings = Settings(clip_seconds=1.0, frames_per_clip=4, video_reader=reader)
    cuts = video.cut(VIDEOS / name, settings)
    assert cuts[0].t0 == 0.0
    assert all(a.t1 == b.t0 for a, b in zip(cuts, cuts[1:], strict=False))
    for place, content in zip(cuts, video.read(VIDEOS / name, cuts, settings), strict=True):
        times = video.frame_times(place, 4)
        assert [read_frame_number(np.asarray(f)) for f in content.frames] == wanted(name, times)


def test_a_frame_is_shown_from_its_very_own_time() -> None:
    times = [i / 25 for i in range(0, 75, 7)]
    for name in ("b_frames.mp4", "offset.mkv", "vp9.webm"):
        assert numbers(VIDEOS / name, "pyav", times) == list(range(0, 75, 7))
        assert numbers(VIDEOS / name, "decord", times) == list(range(0, 75, 7))


@given(st.floats(0.001, 2000.0), st.floats(0.5, 60.0))
def test_spans_cover_everything_once(seconds: float, clip: float) -> None:
    parts = video.spans(seconds, clip)
    assert parts[0][0] == 0.0
    assert parts[-1][1] == round(seconds, 3)
    assert all(a[1] == b[0] for a, b in zip(parts, parts[1:], strict=False))
    assert all(abs(t1 - t0 - clip) <= 0.0011 for t0, t1 in parts[:-1])
    last = parts[-1][1] - parts[-1][0]
    assert last < 1.5 * clip + 0.0021
    assert len(parts) == 1 or last >= 0.5 * clip - 0.0021


@pytest.mark.parametrize(
    ("seconds", "ends"), [(12.0, [8.0, 12.0]), (11.9, [11.9]), (16.0, [8.0, 16.0]), (19.0, [8.0, 19.0]), (0.4, [0.4])]
)
def test_a_short_remainder_joins_the_clip_before(seconds: float, ends: list[float]) -> None:
    assert [t1 for _, t1 in video.spans(seconds, 8.0)] == ends


def test_locators_and_times() -> None:
    cuts = video.cut(VIDEOS / "b_frames.mp4", Settings())
    assert [(c.locator, c.t0, c.t1) for c in cuts] == [("t=0.000-8.000", 0.0, 8.0), ("t=8.000-12.000", 8.0, 12.0)]


def test_subtitles_go_to_the_clips_they_overlap() -> None:
    cuts = video.cut(VIDEOS / "subtitled.mp4", Settings(clip_seconds=1.0))
    first, second = "The counting starts at nought.", "Fifty frames have gone by, a hundred are in sight."
    assert [c.text for c in cuts] == [first, first, second, second]


@pytest.mark.parametrize("reader", list(video.READERS))
def test_a_turned_film_is_shown_upright(reader: str, tmp_path: Path) -> None:
    turned = next(video.READERS[reader](VIDEOS / "rotated_90.mp4", [[0.2]], 512))[0]
    upright = next(video.READERS[reader](VIDEOS / "short.mp4", [[0.2]], 512))[0]
    assert turned.size == (96, 160)
    difference = np.abs(np.asarray(turned).astype(int) - np.rot90(np.asarray(upright), -1)).mean()
    assert difference < 3  # a clockwise quarter turn; decord subsamples colour anew after it


def test_oblong_pixels_are_shown_square(tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for number in range(5):
            container.mux(stream.encode(av.VideoFrame.from_image(numbered_frame(number))))
        container.mux(stream.encode(None))
    frame = next(video.read_pyav(path, [[0.1]], 512))[0]
    assert frame.size == (213, 96)
    assert read_frame_number(np.asarray(frame)) == 2


def test_frames_are_small_rgb_and_few() -> None:
    settings = Settings(frame_side=80, frames_per_clip=3)
    content = next(video.read(VIDEOS / "b_frames.mp4", [Cut("t=0.000-8.000", 0.0, 8.0)], settings))
    assert [(f.mode, f.size) for f in content.frames] == [("RGB", (80, 48))] * 3


def test_a_clip_of_fewer_frames_repeats_them() -> None:
    content = next(video.read(VIDEOS / "short.mp4", [Cut("t=0.000-0.080", 0.0, 0.08)], Settings()))
    assert [read_frame_number(np.asarray(f)) for f in content.frames] == [0] * 4 + [1] * 4
    assert content.frames[0] is content.frames[3]  # the same object: it is pickled once


def test_an_unknown_reader_is_named() -> None:
    with pytest.raises(UnknownName, match=r"'pyaw'.*'pyav'"):
        next(video.read(VIDEOS / "short.mp4", [Cut("", 0.0, 0.4)], Settings(video_reader="pyaw")))


def test_files_without_presentation_times_are_read(tmp_path: Path) -> None:
    write_video(
        tmp_path / "old.avi", "mpeg4", range(50), Fraction(1, 25), options={"bf": "0", "g": "12", "qscale": "3"}
    )
    cuts = video.cut(tmp_path / "old.avi", Settings())
    assert [c.locator for c in cuts] == ["t=0.000-2.000"]
    assert numbers(tmp_path / "old.avi", "pyav", [1.5, 0.3]) == [37, 7]


def test_odd_names_are_files_and_not_protocols(tmp_path: Path) -> None:
    for name in ("http:..mp4", "concat:a|b.mp4", "-i %03d.mp4", "two\nlines.mp4", "naïve 猫.mp4", "b\udcff.mp4"):
        path = tmp_path / name
        shutil.copyfile(VIDEOS / "short.mp4", path)
        assert [c.locator for c in video.cut(path, Settings())] == ["t=0.000-0.400"]
        assert numbers(path, "pyav", [0.2]) == [5]


def test_timestamps_without_sense_are_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "leap.mkv", "libx264", [0, 40, 80, 900_000_000], Fraction(1, 1000), options=X264)
    with pytest.raises(MediaError, match=r"span 900000 s.*20000 clips of 8 s"):
        video.cut(tmp_path / "leap.mkv", Settings())


def test_frames_lost_from_the_middle_are_an_error(tmp_path: Path) -> None:
    data = bytearray((VIDEOS / "b_frames.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path = tmp_path / "holed.mp4"
    path.write_bytes(data)
    with pytest.raises(MediaError, match="cannot be read|decoding ends"):
        list(video.read(path, video.cut(path, Settings()), Settings()))


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of numbered frames at 5 a second, key frames 4 s apart."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    options = X264 | {"preset": "ultrafast", "g": "20", "keyint_min": "20"}
    write_video(path, "libx264", range(600), Fraction(1, 5), options=options)
    return path


def test_reading_all_clips_decodes_each_frame_about_once(long_film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = count_decoded(monkeypatch)
    settings = Settings()
    cuts = video.cut(long_film, settings)
    assert len(cuts) == 15
    contents = list(video.read(long_film, cuts, settings))
    assert 590 <= decoded[0] <= 660
    assert read_frame_number(np.asarray(contents[-1].frames[-1])) == 597


def test_a_late_clip_is_sought_and_not_decoded_up_to(long_film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = count_decoded(monkeypatch)
    content = next(video.read(long_film, [Cut("", 112.0, 120.0)], Settings()))
    assert read_frame_number(np.asarray(content.frames[0])) == 562
    assert decoded[0] < 40 + 2 * 20  # the clip, and the groups of pictures before it


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    decoded = [0]
    original = video._Film._decode

    def counting(film: video._Film) -> av.VideoFrame | None:
        decoded[0] += 1
        return original(film)

    monkeypatch.setattr(video._Film, "_decode", counting)
    return decoded


def test_open_groups_of_another_length_are_exact(tmp_path: Path) -> None:
    params = X265["x265-params"].replace("keyint=30:min-keyint=30", "keyint=12:min-keyint=12")
    write_video(tmp_path / "open.mkv", "libx265", range(60), Fraction(1, 25), options=X265 | {"x265-params": params})
    cold = [numbers(tmp_path / "open.mkv", "pyav", [i / 25 + 0.01])[0] for i in range(60)]
    assert cold == list(range(60))
