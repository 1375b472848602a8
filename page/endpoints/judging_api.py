"""Endpoints for judging results and comparing recipes blind: what is kept, and keeping more where the page may."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from gradio.events import api

from mmretrieval.errors import BadQuery
from mmretrieval.library.judgements import CHOICES
from page import arguments
from page.compare import blind, judging
from page.endpoints import called
from page.endpoints.called import or_refuse
from page.query.asking import Asked

if TYPE_CHECKING:
    from page.state import Page

RUN_CHARS = 64


def build(page: Page, listed: Literal["public", "undocumented"]) -> None:
    """Registers them, with the visibility that is given."""
    _grading(page, listed)
    _choosing(page, listed)


def _grading(page: Page, listed: Literal["public", "undocumented"]) -> None:
    def judge(
        answer: str,
        grade: int | None,
        words: str = "",
        avoid: str = "",
        picture: str = "",
        item: str = "",
        kinds: list[str] | None = None,
        conditions: str = "",
        parts: list[dict[str, Any]] | None = None,
        within: list[str] | None = None,
    ) -> dict[str, Any]:
        """Keeps how well a library item answers a query: 0 not relevant, 1 related, 2 relevant, 3 exactly it.

        `answer`: the item's id. `grade`: null takes an earlier one back. The query is given as in search, its simple
        parts with their usual weights (others go into `parts`). Gives the grade that holds now.
        """

        def work() -> dict[str, Any]:
            page.check_writable()
            wanted = _asked(words, avoid, picture, item, kinds, conditions, parts, within)
            with called.posed(page, wanted) as ready:
                return {"item": answer, "grade": judging.judge(page, ready, answer, grade)}

        return or_refuse(work)

    def judgements() -> list[dict[str, Any]]:
        """Every grade that the library keeps: the query's id, the query in words and as text, the item, the grade."""
        return or_refuse(lambda: judging.listed(page))

    def export(copied: bool = False) -> dict[str, Any]:
        """Writes all judgements as an evaluation dataset into a new folder of the library.

        `copied`: the judged files are copied too, so that the folder can be moved. Gives the folder (below the
        library's, where the page does not tell paths), how much it holds, and in words what had to be left out.
        """

        def work() -> dict[str, Any]:
            if not isinstance(copied, bool):
                raise BadQuery(f"copied is {str(copied)[:60]!r}: give true or false")
            made = judging.exported(page, copied=copied)
            folder = made.folder if page.trusted else made.folder.relative_to(page.library.path)
            return asdict(made) | {"folder": str(folder), "left_out": list(made.left_out)}

        return or_refuse(work)

    api(judge, concurrency_limit=8, api_visibility=listed)
    api(judgements, concurrency_limit=8, api_visibility=listed)
    api(export, concurrency_id="export", api_visibility=listed)


def _choosing(page: Page, listed: Literal["public", "undocumented"]) -> None:
    def blind_standing(first: str, second: str) -> dict[str, Any]:
        """How two recipes stand after all blind choices that the library keeps, whichever side they stood on.

        wins, losses and ties of the first (each query's last choice), its win_rate among what was decided (null for
        nothing), and from `low` to `high` Wilson's 95 % interval of that.
        """

        def work() -> dict[str, Any]:
            names = arguments.text(first, "first"), arguments.text(second, "second")
            return blind.numbers(blind.standing(page, *names))

        return or_refuse(work)

    def blind_choice(
        left: str,
        right: str,
        choice: Literal["left", "right", "tie"],
        run: str,
        words: str = "",
        avoid: str = "",
        picture: str = "",
        item: str = "",
        kinds: list[str] | None = None,
        conditions: str = "",
        parts: list[dict[str, Any]] | None = None,
        within: list[str] | None = None,
    ) -> dict[str, Any]:
        """Keeps which of two recipes' lists was found better for a query by somebody who did not see their names.

        `left` and `right`: the recipes as they stood. `choice`: left, right or tie. `run`: a name of your own, the same
        for all choices of one sitting. The query is given as in judge. Gives the choice as it is kept.
        """

        def work() -> dict[str, Any]:
            page.check_writable()
            known = next((one for one in CHOICES if one == choice), None)
            if known is None:
                raise BadQuery(f"{str(choice)[:40]!r} is no choice: give one of {', '.join(CHOICES)}")
            sitting = arguments.text(run, "run", RUN_CHARS).strip()
            if not sitting:
                raise BadQuery("run is empty: give the choices of one sitting a name, the same for all of them")
            sides = arguments.text(left, "left"), arguments.text(right, "right")
            wanted = _asked(words, avoid, picture, item, kinds, conditions, parts, within)
            with called.posed(page, wanted) as ready:
                return asdict(blind.record(page, ready, *sides, known, sitting))

        return or_refuse(work)

    for endpoint in (blind_standing, blind_choice):
        api(endpoint, concurrency_limit=8, api_visibility=listed)


def _asked(words: str, avoid: str, picture: str, item: str, *rest: Any) -> Asked:
    """What was asked, checked; `rest` are kinds, conditions, parts and within."""
    return called.with_picture(called.asked(words, item, avoid, {}, *rest), picture, 1.0)
