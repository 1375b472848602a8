"""The page's named endpoints: the same work as its tabs, typed, for programs. A read-only page refuses what changes.

All of them are plain HTTP, and Gradio's client calls them by name. Where the page was started for agents, those that
only look are their tools too, with the docstrings here as descriptions.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from gradio.events import api

from eval.agreement import overlap, rank_biased_overlap
from eval.diagnosis import plain
from eval.stages import GRAMMAR, described, one
from mmretrieval.engine import DEPTH
from mmretrieval.errors import RetrievalError
from mmretrieval.types import Hit, Item
from page import arguments
from page.endpoints import called, judging_api
from page.endpoints.called import or_refuse
from page.jobs import Job
from page.library import copies, disk
from page.map import tab as atlas
from page.prove import evaluating, findings
from page.search import why as reasons
from page.state import FILE_BYTES

if TYPE_CHECKING:
    from page.state import Page

Visibility = Literal["public", "undocumented"]
MOST_RECIPES = 4
# Squares a side of a picture that `why` hides one after the other, and points of a map that one answer holds at most.
WHY_GRID, MOST_POINTS, LAST_POINT = 8, 10_000, 100_000_000


def build(page: Page, *, agents: bool = False) -> None:
    """Registers the endpoints. `agents`: only those that agents may use are listed; the others can be called still."""
    listed: Visibility = "undocumented" if agents else "public"
    _searching(page)
    _comparing(page)
    _explaining(page)
    _looking(page, listed)
    _changing(page, listed)
    _adding(page, listed)
    _showing(page, listed)
    judging_api.build(page, listed)


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
        parts: list[dict[str, Any]] | None = None,
        within: list[str] | None = None,
        explain: bool = False,
    ) -> dict[str, Any]:
        """The k best items for words, a picture (its file's bytes in base64), a library item's id, or all together.

        The weights of these go from -2 (away from it) to 2 (towards it); `avoid` is words to move away from, by its
        weight. `parts` is a list of more: objects with "kind" (words, picture or item), "value", "weight", "fragment"
        (a place in it, as in xywh=percent:10,10,50,50 or t=3) and "feedback" (an item that was liked, or with a
        weight below 0 disliked). `kinds`: image, video, document, text. `conditions`: as in 'subject = animals,
        year >= 2000'. `within`: the only items to rank, by id. `recipe`: how to search, see stages; the library's own
        where none is given. `explain`: with what each part contributed.
        """

        def work() -> dict[str, Any]:
            weights = {"words": words_weight, "item": item_weight, "avoid": avoid_weight}
            wanted = called.asked(words, item, avoid, weights, kinds, conditions, parts, within)
            wanted = called.with_picture(wanted, picture, picture_weight)
            places = arguments.whole(k, "k", 1, DEPTH)
            chosen = called.recipe(page, recipe)
            run = page.engine.rank(
                [called.queried(page, wanted)], chosen, places, explain=arguments.yes(explain, "explain")
            )
            hits = run.rankings[0].hits
            items = page.library.items_by_id([hit.id for hit in hits])
            found = [_hit(hit, items[hit.id]) for hit in hits if hit.id in items]
            spent = {name: run.meta[name] for name in ("seconds", "stages")}
            return {"recipe": run.recipe, "hits": found} | spent

        return or_refuse(work)

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
        recipes: list[str] | None = None,
        picture: str = "",
        picture_weight: float = 1.0,
        kinds: list[str] | None = None,
        conditions: str = "",
        parts: list[dict[str, Any]] | None = None,
        within: list[str] | None = None,
    ) -> dict[str, Any]:
        """Two to four recipes on one query: each one's k best ids and its time, and how alike each pair of lists is.

        The query is given as in search. `recipes`, or `left` and `right` for two of them (the library's own where
        empty). Of each pair: overlap of the first k, and rank-biased overlap down to the end of the shorter list
        (1: the same order).
        """

        def work() -> dict[str, Any]:
            weights = {"words": words_weight, "item": item_weight, "avoid": avoid_weight}
            wanted = called.asked(words, item, avoid, weights, kinds, conditions, parts, within)
            wanted = called.with_picture(wanted, picture, picture_weight)
            places = arguments.whole(k, "k", 1, DEPTH)
            named = recipes or [called.recipe(page, left), called.recipe(page, right)]
            chosen = called.recipes(page, named, 2, MOST_RECIPES)
            query = called.queried(page, wanted)
            runs = [page.engine.rank([query], one, DEPTH) for one in chosen]
            lists = [[hit.id for hit in run.rankings[0].hits] for run in runs]
            pairs = [_alike(lists, a, b, places) for a, b in combinations(range(len(lists)), 2)]
            columns = [
                {"recipe": run.recipe, "ids": ids[:places]} | {name: run.meta[name] for name in ("seconds", "stages")}
                for run, ids in zip(runs, lists, strict=True)
            ]
            two = {"left": lists[0][:places], "right": lists[1][:places]} if len(lists) == 2 else {}
            both = {name: pairs[0][name] for name in ("overlap", "rank_biased_overlap")} if two else {}
            return {"columns": columns, "pairs": pairs} | two | both

        return or_refuse(work)

    api(compare, concurrency_id="encoder")


def _alike(lists: list[list[str]], a: int, b: int, k: int) -> dict[str, Any]:
    """How alike two of the lists are, by their places in the request."""
    deep = rank_biased_overlap(lists[a], lists[b])
    return {"a": a, "b": b, "overlap": overlap(lists[a][:k], lists[b][:k]), "rank_biased_overlap": deep}


def _explaining(page: Page) -> None:
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
            task = page.findings.ask(
                findings.wanted(page, recipe, diagnostic, sample, seed, of, classes, arguments.yes(umap, "umap"))
            )
            task.ended.wait()
            if task.found is None:
                raise RetrievalError(task.problem)
            found = task.found.finding
            said = {name: getattr(found, name) for name in ("diagnostic", "sentence", "advice", "stages", "numbers")}
            said |= {"recipe": task.found.recipe, "intervals": found.intervals, "basis": found.basis}
            return dict(plain(said))

        return or_refuse(work)

    def stages(name: str = "") -> dict[str, Any]:
        """What can stand in a recipe: its grammar, the library's encoders, and every stage with its arguments.

        `name`: one stage alone, as in nnn.
        """

        def work() -> dict[str, Any]:
            wanted = arguments.text(name, "the stage").strip()
            found = (one(wanted),) if wanted else described()
            encoders = {"encoders": list(page.library.encoders), "default_recipe": page.library.default_recipe}
            return {"grammar": list(GRAMMAR)} | encoders | {"stages": [asdict(stage) for stage in found]}

        return or_refuse(work)

    api(diagnose, concurrency_limit=4)
    api(stages, concurrency_limit=8)


def _looking(page: Page, listed: Visibility) -> None:
    def status() -> dict[str, Any]:
        """What the library holds: items by kind, vectors by encoder and view, sizes; and how the last jobs stand.

        `job` is the last ingest, `fix` the last proof; its `found` is what `python -m eval fix --json` says. `disk` has
        the parts of the library's folder, in bytes; they add up to it.
        """
        job, proof = _standing(page.board.job), _standing(page.proofs.job)
        if proof is not None and page.proofs.job is not None:
            proof["found"] = page.proofs.job.found

        def work() -> dict[str, Any]:
            counted = asdict(page.library.status())
            # A client takes an object with a "path" for a file to be fetched.
            folder = {"folder": counted.pop("path")}
            of_recipes = sum(index["bytes"] for index in counted["recipe_indexes"])
            parts = {part.name: part.bytes for part in disk.parts(page.library, of_recipes)}
            return folder | counted | {"disk": parts, "read_only": page.read_only, "job": job, "fix": proof}

        return or_refuse(work)

    def failures() -> list[dict[str, str]]:
        """The files that could not be read, each with its reason."""
        return or_refuse(lambda: [{"file": f.path, "reason": f.reason} for f in page.library.failures()])

    def duplicates() -> list[list[str]]:
        """The paths of every content that the library holds more than once, a list for each content."""
        return or_refuse(lambda: [list(paths) for paths in copies.same(page.library)])

    def near_duplicates(encoder: str = "", cosine: float = copies.USUAL) -> dict[str, Any]:
        """Pairs of items whose pictures are nearly the same, the most alike first.

        `encoder`: one of the library's, by whose vectors; where none is given pixels are compared, as in a list of
        results. `cosine`: how alike at least, 0.8 to 1.
        """

        def work() -> dict[str, Any]:
            name = arguments.text(encoder, "the encoder").strip()
            least = arguments.real(cosine, "cosine", copies.LEAST, copies.MOST)
            return asdict(copies.near(page, page.library.card(name).spec if name else copies.PIXELS, least))

        return or_refuse(work)

    for endpoint in (status, failures, duplicates):
        api(endpoint, concurrency_limit=8, api_visibility=listed)
    api(near_duplicates, concurrency_id="near", api_visibility=listed)


def _showing(page: Page, listed: Visibility) -> None:
    def mapped(
        encoder: str = "",
        vectors: str = "visual",
        method: str = "pca",
        seed: int = 0,
        first: int = 0,
        count: int = 1000,
    ) -> dict[str, Any]:
        """The library's vectors laid in a plane: points `first` to `first` + `count` - 1 as columns, axes, shares.

        `encoder`: one of the library's, its first where none is given. `vectors`: visual, text, joint or visual+text.
        `method`: pca is there at once; umap begins and says how far it is, so ask again. `count`: at most 10,000.
        """

        def work() -> dict[str, Any]:
            wanted = page.maps.wanted(encoder, vectors, method, seed)
            start = arguments.whole(first, "first", 0, LAST_POINT)
            return atlas.mapped(page, wanted, start, arguments.whole(count, "count", 1, MOST_POINTS))

        return or_refuse(work)

    def why(
        answer: str,
        words: str = "",
        avoid: str = "",
        picture: str = "",
        item: str = "",
        recipe: str = "",
        kinds: list[str] | None = None,
        conditions: str = "",
        parts: list[dict[str, Any]] | None = None,
        within: list[str] | None = None,
    ) -> dict[str, Any]:
        """Why a library item scores as it does: how far its score falls as each place or word of it is hidden.

        `answer`: the item's id. The query is given as in search, its simple parts with their usual weights (others go
        into `parts`). `recipe`: the library's own where none is given. A picture is looked at in 8 x 8 squares; of a
        clip each frame is scored, and the best one looked at.
        """

        def work() -> dict[str, Any]:
            ident = arguments.text(answer, "the item", arguments.PATH_CHARS)
            chosen = str(page.permitted(called.recipe(page, recipe)))
            wanted = called.asked(words, item, avoid, {}, kinds, conditions, parts, within)
            with called.posed(page, called.with_picture(wanted, picture, 1.0)) as ready:
                return reasons.described(reasons.found(page, ident, ready, chosen, grid=WHY_GRID))

        return or_refuse(work)

    api(mapped, api_name="map", concurrency_id="map", concurrency_limit=2, api_visibility=listed)
    api(why, concurrency_id="why", concurrency_limit=1, api_visibility=listed)


def _adding(page: Page, listed: Visibility) -> None:
    def add_folder(path: str) -> str:
        """Begins to ingest a file or folder of the machine that runs the page; `status` says how it goes."""
        return or_refuse(lambda: page.add_folder(path).title)

    def add_file(name: str, data: str) -> str:
        """Begins to ingest one file that is sent along: its name, and its bytes in base64; `status` says how it goes.

        The name's folders are left out; of it the suffix counts.
        """

        def work() -> str:
            page.check_writable()
            named = arguments.text(name, "name", 255)
            text = arguments.text(data, "data", 2 * FILE_BYTES)
            return page.add_bytes(named, called.decoded(text, "the file", FILE_BYTES)).title

        return or_refuse(work)

    def add_encoder(spec: str) -> str:
        """Begins to embed everything with one more encoder; `status` says how it goes."""
        return or_refuse(lambda: page.add_encoder(spec).title)

    def retry(paths: list[str] | None = None) -> str:
        """Begins to read again what could not be read: these files, as failures names them, or all for none."""
        return or_refuse(lambda: page.retry(arguments.names(paths, "the paths")).title)

    for endpoint in (add_folder, add_file, add_encoder, retry):
        api(endpoint, concurrency_limit=8, api_visibility=listed)


def _changing(page: Page, listed: Visibility) -> None:
    def stop() -> str:
        """Ends the ingest that runs after the items that are being embedded now; what was stored stays."""
        return or_refuse(lambda: page.stop().title)

    def remove(paths: list[str]) -> int:
        """Takes files out of the library by path (the files stay); gives the number of items removed."""
        return or_refuse(lambda: page.remove(paths))

    def fix(recipe: str = "", stages: list[str] | None = None, metric: str = "", seed: int = 0) -> str:
        """Begins to prove changes of a recipe on the page's dataset; `status` says how it goes and what came of it.

        `stages` as they stand in a recipe (none: the usual ones); pairs of the best are tried too. `metric`: the
        dataset's own by default.
        """
        return or_refuse(lambda: evaluating.start(page, recipe, stages, metric, seed).title)

    for endpoint in (stop, remove, fix):
        api(endpoint, concurrency_limit=8, api_visibility=listed)


def _standing(job: Job | None) -> dict[str, Any] | None:
    """How a job stands; `share` is how much of it is done, `reading` the file that it met last."""
    if job is None:
        return None
    said = {name: getattr(job, name) for name in ("title", "state", "note", "done", "stored", "failed", "reading")}
    return said | {"expected": job.expected, "share": job.share, "seconds_left": job.seconds_left}


def _hit(hit: Hit, item: Item) -> dict[str, Any]:
    place = {"t0": item.t0, "t1": item.t1, "page": item.page, "chance": hit.chance}
    explained = {"contributions": [asdict(one) for one in hit.contributions]} if hit.contributions else {}
    return (
        {
            "id": hit.id,
            "rank": hit.rank,
            "score": hit.score,
            "kind": item.kind,
            "text": item.text,
            "meta": dict(item.meta),
            "paths": list(item.paths),
            "trail": [asdict(mark) for mark in hit.trail],
            "weak": hit.weak,
        }
        | {k: v for k, v in place.items() if v is not None}
        | explained
    )
