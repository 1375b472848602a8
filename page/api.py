"""The page's named endpoints: the same work as its tabs, typed, for programs. A read-only page refuses what changes."""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr
from gradio.events import api

from eval.agreement import overlap, rank_biased_overlap
from eval.diagnosis import plain
from mmretrieval.engine import DEPTH
from mmretrieval.errors import BadQuery, RetrievalError
from mmretrieval.types import Hit, Item, Query
from page import arguments, evaluating, findings
from page import compare as comparing
from page.asking import KIND_NAMES, MOST_WEIGHT, Asked, query
from page.jobs import Job
from page.notices import attempt

if TYPE_CHECKING:
    from page.state import Page

T = TypeVar("T")
PICTURE_BYTES = 30_000_000


def build(page: Page) -> None:
    """Registers the endpoints."""
    _searching(page)
    _comparing(page)
    _describing(page)
    _changing(page)


def _searching(page: Page) -> None:
    def search(
        words: str = "",
        avoid: str = "",
        picture: str = "",
        item: str = "",
        recipe: str = "",
        k: int = 10,
        kinds: list[str] | None = None,
        conditions: str = "",
        avoid_weight: float = 0.5,
        words_weight: float = 1.0,
        picture_weight: float = 1.0,
        item_weight: float = 1.0,
    ) -> dict[str, Any]:
        """The k best items for words, a picture (its file's bytes in base64), a library item's id, or all together.

        The weights of these go from -2 (away from it) to 2 (towards it); `avoid` is words to move away from, by its
        weight. `kinds`: image, video, document, text. `conditions`: as in 'subject = animals, title = "a, b"'.
        """

        def work() -> dict[str, Any]:
            weights = {"words": words_weight, "picture": picture_weight, "item": item_weight, "avoid": avoid_weight}
            wanted = _asked(words, item, avoid, weights, kinds, conditions)
            places = arguments.whole(k, "k", 1, DEPTH)
            run = page.engine.rank([_query(page, wanted, picture)], _recipe(page, recipe), places)
            hits = run.rankings[0].hits
            items = page.library.items_by_id([hit.id for hit in hits])
            found = [_hit(hit, items[hit.id]) for hit in hits if hit.id in items]
            return {"recipe": run.recipe, "seconds": run.meta["seconds"], "hits": found}

        return _or_refuse(work)

    api(search, concurrency_id="encoder")


def _comparing(page: Page) -> None:
    def compare(
        words: str = "",
        left: str = "",
        right: str = "",
        k: int = 10,
        avoid: str = "",
        item: str = "",
        words_weight: float = 1.0,
        item_weight: float = 1.0,
        avoid_weight: float = 0.5,
    ) -> dict[str, Any]:
        """Two recipes on one query: both lists of ids, their overlap@k, the rank-biased overlap of the whole lists."""

        def work() -> dict[str, Any]:
            weights = {"words": words_weight, "item": item_weight, "avoid": avoid_weight}
            wanted = _asked(words, item, avoid, weights)
            places = arguments.whole(k, "k", 1, DEPTH)
            first, second, _ = comparing.ranks(page, wanted, (_recipe(page, left), _recipe(page, right)))
            ids = [h.id for h in first], [h.id for h in second]
            return {
                "left": ids[0][:places],
                "right": ids[1][:places],
                "overlap": overlap(ids[0][:places], ids[1][:places]),
                "rank_biased_overlap": rank_biased_overlap(*ids),
            }

        return _or_refuse(work)

    api(compare, concurrency_id="encoder")


def _describing(page: Page) -> None:
    def diagnose(
        recipe: str = "",
        diagnostic: str = "gap",
        sample: int = 10_000,
        seed: int = 0,
        of: str = "library",
        classes: str = "",
        umap: bool = False,
    ) -> dict[str, Any]:
        """A diagnostic of the space that a recipe makes: sentence, numbers, 95 % intervals, what to try, basis.

        `diagnostic`: gap, gram, hubness, agreement (of a recipe with two encoders), calibration, dimension, concepts or
        capacity. `of`: the library, or the dataset that the page was started with. `classes`: the key of the items'
        metadata that says of what class each is. `umap`: whether gap projects pairs by UMAP.
        """

        def work() -> dict[str, Any]:
            task = page.findings.ask(findings.wanted(page, recipe, diagnostic, sample, seed, of, classes, umap is True))
            task.ended.wait()
            if task.found is None:
                raise RetrievalError(task.problem)
            found = task.found.finding
            said = {name: getattr(found, name) for name in ("diagnostic", "sentence", "advice", "stages", "numbers")}
            said |= {"recipe": task.found.recipe, "intervals": found.intervals, "basis": found.basis}
            return dict(plain(said))

        return _or_refuse(work)

    def status() -> dict[str, Any]:
        """What the library holds: items by kind, vectors by encoder and view, sizes; and how the last jobs stand.

        `job` is the last ingest, `fix` the last proof; its `found` is what `python -m eval fix --json` says.
        """
        job, proof = _standing(page.board.job), _standing(page.proofs.job)
        if proof is not None and page.proofs.job is not None:
            proof["found"] = page.proofs.job.found

        def work() -> dict[str, Any]:
            counted = asdict(page.library.status())
            # A client takes an object with a "path" for a file to be fetched.
            return {"folder": counted.pop("path")} | counted | {"read_only": page.read_only, "job": job, "fix": proof}

        return _or_refuse(work)

    api(diagnose, concurrency_limit=4)
    api(status, concurrency_limit=8)


def _changing(page: Page) -> None:
    def add_folder(path: str) -> str:
        """Begins to ingest a file or folder of the machine that runs the page; `status` says how it goes."""
        return _or_refuse(lambda: page.add_folder(path).title)

    def add_encoder(spec: str) -> str:
        """Begins to embed everything with one more encoder; `status` says how it goes."""
        return _or_refuse(lambda: page.add_encoder(spec).title)

    def remove(paths: list[str]) -> int:
        """Takes files out of the library by path (the files stay); gives the number of items removed."""
        return _or_refuse(lambda: page.remove(paths))

    def fix(recipe: str = "", stages: list[str] | None = None, metric: str = "", seed: int = 0) -> str:
        """Begins to prove changes of a recipe on the page's dataset; `status` says how it goes and what came of it.

        `stages` as they stand in a recipe (none: the usual ones); pairs of the best are tried too. `metric`: the
        dataset's own by default.
        """
        return _or_refuse(lambda: evaluating.start(page, recipe, stages, metric, seed).title)

    for endpoint in (add_folder, add_encoder, remove, fix):
        api(endpoint, concurrency_limit=8)


def _standing(job: Job | None) -> dict[str, Any] | None:
    """How a job stands."""
    return {"title": job.title, "state": job.state, "note": job.note, "done": job.done} if job else None


def _asked(
    words: object,
    item: object,
    avoid: object,
    weights: Mapping[str, object],
    kinds: object = None,
    conditions: str = "",
) -> Asked:
    """What an endpoint was asked, every argument checked; weights by the name of their part."""
    checked: dict[str, Any] = {
        f"{part}_weight": arguments.real(value, f"{part}_weight", 0 if part == "avoid" else -MOST_WEIGHT, MOST_WEIGHT)
        for part, value in weights.items()
    }
    return Asked(
        arguments.text(words, "words"),
        item=arguments.text(item, "item") or None,
        avoid=arguments.text(avoid, "avoid"),
        kinds=arguments.names(kinds, "kinds", KIND_NAMES),
        conditions=arguments.text(conditions, "conditions"),
        **checked,
    )


def _recipe(page: Page, name: object) -> str:
    return arguments.text(name, "the recipe") or page.library.default_recipe


def _query(page: Page, wanted: Asked, picture: object) -> Query:
    picture = arguments.text(picture, "picture", 2 * PICTURE_BYTES)
    if not picture:
        return query(page, wanted)
    try:
        data = base64.b64decode(picture, validate=True)
    except (binascii.Error, ValueError):
        raise BadQuery("picture is not base64: send the bytes of a picture file in base64") from None
    if len(data) > PICTURE_BYTES:
        raise BadQuery(f"the picture has {len(data)} bytes, at most {PICTURE_BYTES} are taken: send a smaller copy")
    with tempfile.TemporaryDirectory(dir=page.folder if page.folder.exists() else None) as folder:
        file = Path(folder) / "picture"
        file.write_bytes(data)
        return query(page, Asked(**(vars(wanted) | {"picture": str(file)})))


def _hit(hit: Hit, item: Item) -> dict[str, Any]:
    place = {"t0": item.t0, "t1": item.t1, "page": item.page}
    return {
        "id": hit.id,
        "rank": hit.rank,
        "score": hit.score,
        "kind": item.kind,
        "text": item.text,
        "meta": dict(item.meta),
        "paths": list(item.paths),
        "trail": [asdict(mark) for mark in hit.trail],
    } | {k: v for k, v in place.items() if v is not None}


def _or_refuse(work: Callable[[], T]) -> T:
    """What the work gives; its problem as an error that reaches the caller."""
    outcome = attempt(work)
    if outcome.problem:
        raise gr.Error(outcome.problem, print_exception=False)
    return outcome.value  # type: ignore[return-value]  # there is a value where there is no problem
