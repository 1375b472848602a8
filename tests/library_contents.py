"""What a library holds, as plain values that two runs can be compared by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmretrieval.catalog import card
from mmretrieval.library import Library


def contents(library: Library) -> dict[str, Any]:
    """Items, payloads and vectors by encoder and view; of the exact cache, and of the index, which must agree."""
    items = {i.id: (i.kind, i.locator, i.paths, i.text, i.lang, dict(i.meta), i.payload) for i in library.items()}
    vectors: dict[str, Any] = {}
    for encoder in library.encoders:
        for view, (ids, rows) in scanned(library, encoder).items():
            assert len(set(ids)) == len(ids)
            vectors[f"{encoder}@{view}"] = {i: r.tobytes() for i, r in zip(ids, rows, strict=True)}
    return {"items": items, "vectors": vectors, "index": indexed(library)}


def scanned(library: Library, encoder: str) -> dict[str, tuple[tuple[str, ...], Any]]:
    """By view the ids and their rows, or bags of rows, of the exact cache."""
    if card(encoder).multi:
        return {view: (bags.ids, bags.vectors) for view, bags in library.bags(encoder).items()}
    return {view: (matrix.ids, matrix.rows) for view, matrix in library.matrices(encoder).items()}


def indexed(library: Library) -> dict[str, Any]:
    """The same vectors as the index holds them."""
    library.open_indexes()
    try:
        library.sync_indexes()
        found: dict[str, Any] = {}
        for encoder in library.encoders:
            for view, (ids, _) in scanned(library, encoder).items():
                if card(encoder).multi:
                    store = library.late_store(encoder)
                    rows = store.bags(view, ids)
                else:
                    store = library.store(encoder)
                    rows, present = store.rows(view, ids)
                    assert present.all()
                assert store.count(view) == len(ids)
                found[f"{encoder}@{view}"] = {i: r.tobytes() for i, r in zip(ids, rows, strict=True)}
    finally:
        library.close_indexes()
    return found


def leftovers(library: Library) -> list[Path]:
    """Files in the embeddings folder that no ledger row names."""
    named = {n for e in library.encoders for n in library.ledger.parts(card(e).space)}
    return [p for p in (library.path / "embeddings").rglob("*") if p.is_file() and p.name not in named]


def every_item_has_its_vectors(library: Library) -> None:
    """Each item has a path and, for each of its views, a vector of each encoder, in the cache as in the index."""
    held = contents(library)
    for encoder in library.encoders:
        for view in ("visual", "text"):
            wanted = {i.id for i in library.items() if view in i.views}
            assert set(held["vectors"].get(f"{encoder}@{view}", ())) == wanted
    assert held["index"] == held["vectors"]
    assert all(i.paths for i in library.items())
