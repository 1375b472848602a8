"""What is Edge's alone: one opener, what survives a killed process, and the graph that `optimise` builds."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mmretrieval.errors import LibraryBusy, StoreError
from mmretrieval.filters import Condition
from mmretrieval.store.edge import EdgeStore, optimise
from mmretrieval.types import Array, Point, Selection

DIM = 16
ROOT = Path(__file__).parents[2]

WRITER = """
import sys
from pathlib import Path
from mmretrieval.store.edge import EdgeStore
from tests.store.test_edge import DIM, points
store = EdgeStore(Path(sys.argv[1]), DIM, ("visual",))
start = 0
while True:
    store.put(points(start, 300))
    store.delete([points(start, 1)[0].id])
    start += 300
    print(start, flush=True)
    if start >= int(sys.argv[2]) and sys.stdin.readline():
        break
"""


def ids(count: int) -> list[str]:
    return [str(uuid.uuid5(uuid.NAMESPACE_URL, f"edge {i}")) for i in range(count)]


def vectors(start: int, count: int, dim: int = DIM) -> Array:
    rows = np.stack([np.random.default_rng(i).standard_normal(dim) for i in range(start, start + count)])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def points(start: int, count: int, dim: int = DIM) -> list[Point]:
    names, rows = ids(start + count)[start:], vectors(start, count, dim)
    kinds = ["image" if i % 3 else "video" for i in range(start, start + count)]
    return [Point(i, {"visual": r}, {"kind": k}) for i, r, k in zip(names, rows, kinds, strict=True)]


def writer(folder: Path, until: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(until)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_what_was_put_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    with closing(EdgeStore(tmp_path / "0", DIM, ("visual", "text"))) as store:
        store.put(points(0, 600))
    with closing(EdgeStore(tmp_path / "0", DIM, ("visual", "text"))) as store:
        rows, present = store.rows("visual", ids(600))
        assert present.all() and rows.tobytes() == vectors(0, 600).tobytes()
        (videos,) = store.search("visual", rows[:1], 600, [Selection(Condition("kind", "eq", "video"))])
        assert set(videos.ids) == set(ids(600)[::3])
        store.close()
        store.close()


def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    with writer(tmp_path / "0", 1500) as process:
        assert process.stdout is not None
        acknowledged = 0
        while acknowledged < 1500:
            acknowledged = int(process.stdout.readline())
        process.kill()
        assert process.wait() == -signal.SIGKILL
        with closing(EdgeStore(tmp_path / "0", DIM, ("visual",))) as store:
            rows, present = store.rows("visual", ids(acknowledged))
            kept = np.arange(acknowledged) % 300 != 0
            np.testing.assert_array_equal(present, kept)
            np.testing.assert_array_equal(rows[kept], vectors(0, acknowledged)[kept])


def test_a_second_opener_is_told_who_has_it(tmp_path: Path) -> None:
    with writer(tmp_path / "0", 300) as process:
        assert process.stdout is not None and process.stdout.readline() == "300\n"
        with pytest.raises(LibraryBusy, match="another process.*close"):
            EdgeStore(tmp_path / "0", DIM, ("visual",))
        with pytest.raises(LibraryBusy):
            optimise(tmp_path / "0", DIM, ("visual",))
        process.communicate("enough\n")
    with closing(EdgeStore(tmp_path / "0", DIM, ("visual",))) as store:
        assert store.count("visual") == 299


def test_a_folder_with_other_views_or_length_is_refused(tmp_path: Path) -> None:
    EdgeStore(tmp_path / "0", DIM, ("visual",)).close()
    for dim, views in ((DIM + 1, ("visual",)), (DIM, ("visual", "text")), (DIM, ("text",))):
        with pytest.raises(StoreError, match="Delete that folder"):
            EdgeStore(tmp_path / "0", dim, views)  # type: ignore[arg-type]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(StoreError, match="not empty"):
        EdgeStore(tmp_path / "0", DIM, ("visual",))
    assert [p.name for p in (tmp_path / "0").iterdir()] == ["letter.txt"]


def test_a_half_made_folder_is_made_anew(tmp_path: Path) -> None:
    half = tmp_path / "0.new" / "segments"
    half.mkdir(parents=True)
    (half / "torn").write_bytes(b"\0")
    (tmp_path / "0").mkdir()
    with closing(EdgeStore(tmp_path / "0", DIM, ("visual",))) as store:
        store.put(points(0, 3))
        assert store.count("visual") == 3
    assert [p.name for p in tmp_path.iterdir()] == ["0"]


def test_a_spoilt_folder_says_the_way_out(tmp_path: Path) -> None:
    EdgeStore(tmp_path / "0", DIM, ("visual",)).close()
    (tmp_path / "0" / "edge_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match="Delete that folder"):
        EdgeStore(tmp_path / "0", DIM, ("visual",))


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path / "0", DIM, ("visual",))
    store.close()
    for use in (lambda: store.put(points(0, 1)), lambda: store.rows("visual", ids(1)), lambda: store.count("visual")):
        with pytest.raises(StoreError, match="closed before"):
            use()


def test_an_optimised_shard_finds_nearly_all_and_exactly_all_when_asked(tmp_path: Path) -> None:
    """2,000 random directions of 64 numbers: the hardest kind of data for a graph; the recall bound is loose for it."""
    count, dim = 2000, 64
    with closing(EdgeStore(tmp_path / "0", dim, ("visual",))) as store:
        store.put(points(0, count, dim))
        assert store._shard.info().indexed_vectors_count == 0
    # In a process of its own, since it stops every thread of its process.
    code = (
        "import sys; from pathlib import Path; from mmretrieval.store.edge import optimise\n"
        f"optimise(Path(sys.argv[1]), {dim}, ('visual',), above_kb=1)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "0")], cwd=ROOT, check=True)
    rows, queries = vectors(0, count, dim), vectors(count, 20, dim)
    names = np.array(ids(count))
    truth = [set(names[np.argsort(-(rows @ q))[:10]]) for q in queries]
    recall = {}
    for exact in (False, True):
        with closing(EdgeStore(tmp_path / "0", dim, ("visual",), exact=exact)) as store:
            assert store._shard.info().indexed_vectors_count == count
            back, present = store.rows("visual", names.tolist())
            assert present.all() and back.tobytes() == rows.tobytes()
            found = store.search("visual", queries, 10, [Selection()] * len(queries))
            recall[exact] = np.mean([len(t & set(f.ids)) / 10 for t, f in zip(truth, found, strict=True)])
            store.put(points(count, 20, dim))  # found at once, beside the graph
            fresh = store.search("visual", queries, 1, [Selection()] * len(queries))
            assert [f.ids[0] for f in fresh] == ids(count + 20)[count:]
            store.delete(ids(count + 20)[count:])
    assert recall[True] == 1.0
    assert recall[False] >= 0.9
