"""Judging results: grades that visitors give, kept with the library, and the dataset that is made of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.judged import Exported, export
from mmretrieval import fragments
from mmretrieval.digests import sha256
from mmretrieval.errors import BadQuery, RetrievalError
from mmretrieval.fragments import Place
from mmretrieval.library.judgements import GRADES, JudgedPart, JudgedQuery, Judgements, read_query
from mmretrieval.types import Content, Settings
from page import arguments
from page.notices import counted, escape, notice
from page.query.asking import Asked, AskedPart

if TYPE_CHECKING:
    from page.state import Page

EXPORTS = "exports"
SCALE = " · ".join(f"{number} {words}" for number, words in enumerate(GRADES))
HELP = f"Judge any result: {SCALE}. The same grade once more takes it back. Judgements are kept with the library."
# Clicks on grades anywhere in an element come to Python as `select` events with `do: judge`.
JUDGE_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-grade]');
  if (!button) return;
  event.stopPropagation();
  const item = button.closest('[data-judged]').dataset.judged;
  const back = button.getAttribute('aria-pressed') === 'true';
  trigger('select', {do: 'judge', item, grade: back ? null : Number(button.dataset.grade)});
});
"""
# What was kept is shown wherever the item stands: buttons tell what is on disk, not what was pressed.
KEPT_JS = """
watch('value', () => {
  const kept = element.querySelector('[data-kept]');
  if (!kept) return;
  document.querySelectorAll('[data-judged]').forEach((row) => {
    if (row.dataset.judged !== kept.dataset.kept) return;
    row.querySelectorAll('[data-grade]').forEach((button) =>
      button.setAttribute('aria-pressed', String(button.dataset.grade === kept.dataset.as)));
  });
});
"""


def judgements(page: Page) -> Judgements:
    """What was judged in the page's library."""
    return Judgements(page.library.path)


def as_judged(page: Page, asked: Asked, *, keep: bool = False) -> JudgedQuery:
    """The query as judgements name it; `keep` puts its pictures beside them.

    Raises BadQuery where nothing is asked.
    """
    parts = tuple(_judged(page, part, keep) for part in asked.parts if part.weight)
    if not parts:
        raise BadQuery("nothing was asked yet, so nothing can be judged: search first")
    return JudgedQuery(parts, asked.kinds, asked.conditions, asked.within)


def _judged(page: Page, part: AskedPart, keep: bool) -> JudgedPart:
    value = part.value.strip()
    if part.kind == "picture":
        value = _kept(page, Path(value)) if keep else _digest(Path(value))
    return JudgedPart(part.kind, value, float(part.weight), part.fragment, part.feedback)


def _kept(page: Page, file: Path) -> str:
    _check_there(file)
    return judgements(page).keep(file)


def _digest(file: Path) -> str:
    _check_there(file)
    return sha256(file)


def _check_there(file: Path) -> None:
    if not file.is_file():
        raise BadQuery("the picture that was asked with is no longer there: upload it again, search, then judge")


def asked(page: Page, text: str) -> Asked:
    """The query behind a text that judgements have, to be asked again; UnknownName where its picture is gone."""
    query = read_query(text)
    known = judgements(page)
    return _as_asked(query, {p.value: str(known.picture(p.value)) for p in query.parts if p.kind == "picture"})


def _as_asked(query: JudgedQuery, pictures: Mapping[str, str]) -> Asked:
    parts = tuple(
        AskedPart(p.kind, pictures.get(p.value, p.value), p.weight, p.fragment, p.feedback) for p in query.parts
    )
    return Asked(parts, query.kinds, query.conditions, query.within)


def judge(page: Page, wanted: Asked, item: object, grade: object) -> int | None:
    """Keeps a grade (0 to 3; None takes it back) of an item as the answer to a query; gives what holds now.

    Raises RetrievalError on a page that only shows, UnknownName for an unknown item.
    """
    page.check_writable()
    number = None if grade is None else arguments.whole(grade, "the grade", 0, len(GRADES) - 1)
    known = page.library.item(arguments.text(item, "the item", arguments.PATH_CHARS))
    return judgements(page).judge(as_judged(page, wanted, keep=True), known.id, number).grade


def grades(page: Page, wanted: Asked) -> Mapping[str, int]:
    """{item: grade} of a query as they hold now; nothing for a query that cannot be judged."""
    try:
        return judgements(page).of(as_judged(page, wanted))
    except BadQuery:
        return {}


def listed(page: Page) -> list[dict[str, Any]]:
    """Every grade as it holds now: the query in words and as text, the item, the grade."""
    found = []
    for text, given in judgements(page).grades().items():
        query = read_query(text)
        words = _as_asked(query, {}).sentence
        found += [{"id": query.id, "query": words, "item": i, "grade": g, "asked": text} for i, g in given.items()]
    return found


def exported(page: Page, *, copied: bool = False) -> Exported:
    """Writes all judgements as a dataset into the library's own folder `exports`, in a folder of its own."""
    page.check_writable()
    folder = page.library.path / EXPORTS / time.strftime("judged-%Y-%m-%d-%H%M%S")

    def reader(path: Path, kind: str, place: Place, settings: Settings) -> Content:
        return page.readers.submit(fragments.of_file, path, kind, place, settings).result()

    for number in range(1, 100):
        target = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        if not target.exists():
            return export(page.library, target, copied=copied, reader=reader)
    raise RetrievalError(f"{folder} and its followers are there already: try again")


# --- what is shown ---------------------------------------------------------------------------------------------------


def buttons(ident: str, grade: int | None, about: str) -> str:
    """A button for each grade of an item, the one that holds pressed; JUDGE_JS hears them. `about` says which item."""
    drawn = "".join(
        f'<button type="button" data-grade="{number}" aria-pressed="{str(number == grade).lower()}" '
        f'title="{number}: {words}" aria-label="{escape(f"{number}, {words}: {about}")}">{number}</button>'
        for number, words in enumerate(GRADES)
    )
    return f'<span class="mm-grades" data-judged="{escape(ident)}" role="group" aria-label="Judge">{drawn}</span>'


def kept(page: Page, wanted: Asked, said: Mapping[str, Any]) -> str:
    """Keeps what a click on a grade said; gives what tells the buttons (KEPT_JS) and the visitor. Raises as `judge`."""
    item = str(said.get("item", ""))
    grade = judge(page, wanted, item, said.get("grade"))
    number = len(grades(page, wanted))
    words = f"{counted(number, 'result')} judged for this query." if number else "Nothing is judged for this query."
    return (
        f'<p class="mm-hint" role="status" data-kept="{escape(item)}" data-as="{"" if grade is None else grade}">'
        f"{words}</p>"
    )


def told(page: Page, made: Exported) -> str:
    """What was exported, where it is, and how it is scored."""
    folder = made.folder if page.trusted else made.folder.relative_to(page.library.path)
    left = f"\nLeft out: {'; '.join(made.left_out)}." if made.left_out else ""
    return notice(
        f"{counted(made.queries, 'query').replace('querys', 'queries')}, {counted(made.grades, 'grade')} and "
        f"{counted(made.preferences, 'choice')} between lists are now a dataset, in {folder}\n"
        f"Score recipes on it: python -m eval run --dataset {folder} --recipe {page.library.default_recipe}{left}"
    )
