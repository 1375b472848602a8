"""Recipes over many queries: where they disagree most, so that one looks there first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from mmretrieval.engine import DEPTH
from mmretrieval.errors import BadQuery
from mmretrieval.recipe import parse
from mmretrieval.timing import Account, added, apart
from page import arguments
from page.compare import times
from page.compare.columns import LETTERS, Agreement, agreements
from page.notices import counted, escape
from page.query.asking import Asked, AskedPart, query
from page.query.typed import filtered

if TYPE_CHECKING:
    from eval.dataset import Dataset
    from page.state import Page

FIRST = 10  # the k of overlap@k
MOST_QUERIES, SHOWN, AT_ONCE = 1000, 100, 16
BY_ITSELF = "Times a query leave out what is loaded and fitted once: the first recipe that needs it makes it for all."
QUERY_SET_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-place]');
  if (button) trigger('select', {place: Number(button.dataset.place)});
});
"""


@dataclass(frozen=True)
class Row:
    """One query of a set, and how alike each two of the lists are."""

    asked: Asked
    found: tuple[Agreement, ...]

    @property
    def apart(self) -> float:
        """1 - overlap@10, the mean over the pairs: 0 the same first ten everywhere, 1 nothing in common."""
        return 1 - sum(one.overlap for one in self.found) / len(self.found)

    @property
    def rank_biased(self) -> float:
        """The mean rank-biased overlap of the pairs."""
        return sum(one.rank_biased for one in self.found) / len(self.found)


def of_dataset(page: Page, dataset: Dataset) -> list[Asked]:
    """A dataset's queries as they are asked here: their words and pictures with weights, and their filters.

    What their subsets and exclusions name are entries of the dataset, not of this library, and plays no part.
    """
    found = []
    for one in dataset.queries:
        parts = [
            AskedPart("words", part.text, part.weight)
            if part.text is not None
            else AskedPart("picture", str(part.image), part.weight)
            for part in one.parts
        ]
        found.append(filtered(page.library, Asked(tuple(parts)), one.filter))
    return found


def of_lines(text: str) -> list[Asked]:
    """A query of words for each line, each once."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [Asked.of(line) for line in dict.fromkeys(lines) if line]


def chosen(page: Page, text: object) -> tuple[list[Asked], str]:
    """The queries pasted, or where none are the dataset's; and a few words on where they are from. Raises BadQuery."""
    pasted = of_lines(arguments.text(text, "the queries"))
    if pasted:
        asked, whence = pasted, "pasted"
    elif page.dataset is not None:
        asked, whence = of_dataset(page, page.dataset), f"of the dataset {page.dataset.name}{_unheard(page.dataset)}"
    else:
        raise BadQuery("there are no queries yet: write some, one a line (or start the page with --dataset FOLDER)")
    if len(asked) > MOST_QUERIES:
        raise BadQuery(f"there are {len(asked):,} queries, at most {MOST_QUERIES:,} are compared: leave some out")
    return asked, whence


def _unheard(dataset: Dataset) -> str:
    """What is not applied of a dataset's queries, in words."""
    subsets = sum(one.subset is not None for one in dataset.queries)
    if not subsets:
        return ""
    some = "one asks" if subsets == 1 else f"{subsets:,} ask"
    return f" ({some} among entries of the dataset alone, which here is not applied)"


def disagreement(
    page: Page, asked: Sequence[Asked], names: Sequence[str], done: Callable[[int], None] = lambda _: None
) -> tuple[list[Row], list[Account]]:
    """Every query with how alike the recipes' lists are, the most different first; and where each recipe's time went.

    `done` hears how many queries have been asked so far.
    """
    lists: list[list[list[str]]] = [[] for _ in asked]
    spent = [added([]) for _ in names]
    at_once = len(asked) if any(parse(name).transductive for name in names) else AT_ONCE
    for start in range(0, len(asked), at_once):
        posed = [query(page, one) for one in asked[start : start + at_once]]
        for number, name in enumerate(names):
            run = page.engine.rank(posed, name, DEPTH)
            spent[number] = added([spent[number], run.meta])
            for place, ranking in enumerate(run.rankings, start=start):
                lists[place].append([hit.id for hit in ranking.hits])
        done(min(start + at_once, len(asked)))
    rows = [Row(one, tuple(agreements(held, FIRST))) for one, held in zip(asked, lists, strict=True)]
    return sorted(rows, key=lambda row: (-row.apart, row.rank_biased)), spent


def drawn(rows: Sequence[Row], names: Sequence[str], spent: Sequence[Account], whence: str) -> str:
    """The means of each pair, each recipe's time, and the queries; a query is a button that says its place.

    `spent` is each recipe's account over all the queries.
    """
    pairs = list(combinations(range(len(names)), 2))
    means = []
    for number, (first, second) in enumerate(pairs):
        mean = sum(row.found[number].overlap for row in rows) / len(rows)
        deep = sum(row.found[number].rank_biased for row in rows) / len(rows)
        means.append(
            f"<li><strong>{LETTERS[first]} and {LETTERS[second]}</strong>: overlap@{FIRST} {mean:.2f}, "
            f"rank-biased overlap {deep:.2f}</li>"
        )
    taken = "".join(
        f"<li><b>{letter}</b> <code>{escape(name)}</code> · {_each(account, len(rows))}</li>"
        for letter, name, account in zip(LETTERS, names, spent, strict=False)
    )
    unlike = sum(row.apart > 0 for row in rows)
    counted_rows = f"{len(rows):,} {'query' if len(rows) == 1 else 'queries'}"
    return (
        f'<p class="mm-summary">Over <strong>{counted_rows}</strong> {escape(whence)}: in {unlike:,} of them the first '
        f'{FIRST} are not the same.</p><ul class="mm-set">{taken}</ul>'
        f'<p class="mm-hint">{BY_ITSELF} {times.WAITING}</p>'
        f'<p class="mm-summary">Means over the queries:</p><ul class="mm-set">{"".join(means)}</ul>'
        f"{_table(rows, pairs)}{_batch(names)}"
    )


def _each(account: Account, number: int) -> str:
    """The time of one of so many searches, and beside it what was made once for all of them."""
    once, search = apart(account)
    return " ".join(filter(None, (f"{1000 * search['seconds'] / number:.0f} ms a query", times.readied(once))))


def _table(rows: Sequence[Row], pairs: Sequence[tuple[int, int]]) -> str:
    named = [f"{LETTERS[a]}{LETTERS[b]}" for a, b in pairs]
    heads = "".join(
        f'<th scope="col" class="mm-number" title="{title}">{said}{f" {name}" if len(pairs) > 1 else ""}</th>'
        for name in named
        for said, title in (
            (f"overlap@{FIRST}", f"the share of the first {FIRST} that both lists have"),
            ("RBO", "rank-biased overlap of the whole lists: 1 the same order, 0 nothing in common"),
        )
    )
    body = "".join(
        f'<tr><td><button type="button" class="mm-pick" data-place="{place}">{escape(row.asked.sentence)}</button></td>'
        f'<td class="mm-number">{row.apart:.2f}</td>'
        + "".join(
            f'<td class="mm-number">{one.overlap:.2f}</td><td class="mm-number">{one.rank_biased:.2f}</td>'
            for one in row.found
        )
        + "</tr>"
        for place, row in enumerate(rows[:SHOWN])
    )
    caption = f"Where they disagree most ({min(SHOWN, len(rows))} of {counted(len(rows), 'row')}): choose one to see it"
    return (
        f'<div class="mm-scroll mm-where"><table class="mm-table"><caption>{caption}</caption><thead><tr>'
        f'<th scope="col">query</th><th scope="col" class="mm-number" title="1 - overlap@{FIRST}, the mean over the '
        f'pairs: 0 the same, 1 nothing in common">apart</th>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _batch(names: Sequence[str]) -> str:
    if not any(parse(name).transductive for name in names):
        return ""
    return (
        '<p class="mm-hint">A transductive recipe answered all these queries together; one of them by itself may '
        "look different.</p>"
    )
