"""What a search found, as it is shown: bars, what chance would find as well, clips of one film behind the best."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mmretrieval import lexical
from mmretrieval.engine import DEPTH
from mmretrieval.recipe import parse, with_stages
from mmretrieval.types import Contribution, Hit, Item
from page.notices import attempt, counted, escape, notice
from page.query import links
from page.query.asking import KIND_NAMES, Asked, query
from page.query.links import FIRST, Link
from page.search.cards import STANDARDISED, Bar, Card, card, cut, grid, title

if TYPE_CHECKING:
    from page.state import Page

CUT_OFF = "cutoff:0.02"
MIXED, FIRST_LOOK, LABEL_CHARS = 20, 12, 18
# (words, what to avoid): each finds something in the sample library.
EXAMPLES: tuple[tuple[str, str], ...] = (
    ("a bird flying", ""),
    ("musical instrument", ""),
    ("famous tower", ""),
    ("fish under water", ""),
    ("how to bake bread", ""),
    ("fruit", "apple"),
)
STEPS = (
    ("Say or show", "Write words, or add a picture: chosen, dropped, pasted, or from the camera. Parts add up."),
    ("Weigh", "Each part has a slider from away to towards. “not apple” pushes away, a crop counts alone."),
    ("Look closer", "Open a result to see why it was found, and to search on: more like this, less like this."),
)


@dataclass(frozen=True)
class Results:
    """What a search shows: a line about it, cards, the hits behind them, and what went wrong if anything did.

    `address` is where it is found again, `said` what was asked in words.
    """

    line: str = ""
    cards: str = ""
    hits: Mapping[str, Hit] = field(default_factory=dict)
    problem: str = ""
    address: str = ""
    said: str = ""


def search(page: Page, wanted: Asked, recipe: str, k: int = FIRST, *, cut: bool = False) -> Results:
    """Asks the engine and draws what it finds; what cannot be asked comes back as words.

    `cut` greys what chance would find as well, where the recipe's encoders can tell.
    """
    outcome = attempt(lambda: _found(page, wanted, recipe, int(k), cut))
    return outcome.value if outcome.value is not None else Results(problem=outcome.problem)


def spoken(page: Page, wanted: Asked) -> str:
    """The query in words, its library items by their own first words."""
    found = page.library.items_by_id([part.value for part in wanted.parts if part.kind == "item"])
    return wanted.said({ident: title(item) for ident, item in found.items()})


def with_cut_off(page: Page, recipe: str) -> str:
    """The recipe with the usual cut-off, if it has none and one of its encoders gives one vector for each item."""
    chosen = parse(recipe)
    single = any(not lexical.is_lexical(e) and not page.library.card(e).multi for e in chosen.encoders)
    return str(chosen) if chosen.cutoff or not single else str(with_stages(chosen, CUT_OFF))


def _found(page: Page, wanted: Asked, recipe: str, k: int, cut: bool) -> Results:
    if next(page.library.items(), None) is None:
        return Results(problem="The library is empty: add files or a folder in the Library tab, then search again.")
    asked = query(page, wanted)
    run = page.engine.rank([asked], with_cut_off(page, recipe) if cut else recipe, k, explain=True)
    hits = run.rankings[0].hits
    if not hits:
        return Results(problem=_nothing(wanted, run.recipe))
    items = page.library.items_by_id([hit.id for hit in hits])
    link, said = Link(wanted, recipe, k, cut), spoken(page, wanted)
    address = links.address(link)
    line = (
        f'<div class="mm-summary"><strong>{counted(len(hits), "result")}</strong> for {escape(said)}'
        f"<br><code>{escape(run.recipe)}</code> · {run.meta['seconds']:.2f} s{_scale(hits[0])}{_mix(items, hits)}</div>"
        f"{_weak(hits, run.recipe)}{_elsewhere(page, replace(link, recipe=run.recipe), address)}"
    )
    shown = grid(folded(items, hits), "Results")
    drawn = f'<div data-query="{escape(links.address(replace(link, k=FIRST)))}">{shown}{_more(len(hits), k)}</div>'
    return Results(line, drawn, {hit.id: hit for hit in hits}, address=address, said=said)


def folded(items: Mapping[str, Item], hits: Sequence[Hit]) -> list[Card]:
    """Cards of the hits that are still there, in order; clips of one film stand behind the best of them."""
    there = [hit for hit in hits if hit.id in items]
    tallest = _tallest(there)
    scores = [hit.score for hit in there]
    groups: dict[str, list[Card]] = {}
    for hit in there:
        item = items[hit.id]
        shown = card(item, hit)
        files = f"in {len(item.paths)} files" if len(item.paths) > 1 else ""
        shown = replace(
            shown, weak=hit.weak, bar=_height(hit.score, scores), brought=_bars(hit, tallest), mark=files, tone="same"
        )
        groups.setdefault(item.content_hash if item.kind == "video" else item.id, []).append(shown)
    films = "More clips of the same film: show them or hide them"
    return [replace(first, alike=tuple(rest), behind=films if rest else "") for first, *rest in groups.values()]


def _height(score: float, scores: Sequence[float]) -> float:
    """A score among those shown: from 0 where none is below it, else from the lowest."""
    low, high = min(0.0, *scores), max(scores)
    return (score - low) / (high - low) if high > low else 1.0


def _tallest(hits: Sequence[Hit]) -> dict[str, float]:
    """By source, the largest number that a part brought: two sources' numbers cannot be compared."""
    found: dict[str, float] = {}
    for brought in itertools.chain.from_iterable(hit.contributions for hit in hits):
        name = brought.source.partition("@")[0]
        found[name] = max(found.get(name, 0.0), *map(abs, brought.values), 0.0)
    return found


def _bars(hit: Hit, tallest: Mapping[str, float]) -> tuple[Bar, ...]:
    """A bar for each part in each list; nothing where there is one of both, which is the score itself."""
    if sum(len(brought.parts) for brought in hit.contributions) < 2:
        return ()
    several = len(hit.contributions) > 1
    return tuple(bar for brought in hit.contributions for bar in _of(brought, tallest, several))


def _of(brought: Contribution, tallest: Mapping[str, float], several: bool) -> list[Bar]:
    most = tallest.get(brought.source.partition("@")[0], 0.0) or 1.0
    what = "brought" if brought.additive else "by itself"
    bars = []
    for part, value in zip(brought.parts, brought.values, strict=True):
        of = f" · {brought.source}" if several else ""
        alone = "" if brought.additive else "; single scores, they do not add up"
        says = f"{part} {what}: {value:+.3f} ({brought.source}{alone})"
        label = f"{cut(part, LABEL_CHARS)}{of}{'' if brought.additive else ' (by itself)'}"
        bars.append(Bar(label, min(1.0, abs(value) / most), value < 0, says, not brought.additive))
    return bars


def _mix(items: Mapping[str, Item], hits: Sequence[Hit]) -> str:
    """Of which kinds the first ones are: a mixed library should not answer with one kind alone by accident."""
    first = [items[hit.id].kind for hit in hits[:MIXED] if hit.id in items]
    counts = [counted(number, KIND_NAMES.get(kind, kind)) for kind, number in Counter(first).most_common()]
    return f'<br><span class="mm-hint">First {len(first)}: {escape(", ".join(counts))}</span>' if counts else ""


def _weak(hits: Sequence[Hit], recipe: str) -> str:
    """How many hits are greyed and what that means; nothing without a cut-off, or where every hit is better."""
    weak, cutoff = sum(hit.weak for hit in hits), parse(recipe).cutoff
    if not weak or cutoff is None:
        return ""
    alone = weak == len(hits)
    some = "All of these are" if alone else f"{weak} of these {len(hits)} {'is' if weak == 1 else 'are'}"
    return notice(
        f"{some} greyed, as no better than chance: a query that means nothing would score as high in more than "
        f"{100 * cutoff.arguments[0]:g} % of cases."
        + (" Probably the library has nothing of the kind." if alone else "")
    )


def _more(shown: int, k: int) -> str:
    if shown < k or k >= DEPTH:
        end = f"These are all {shown} that were found." if shown < k else f"A search looks {DEPTH} results deep."
        return f'<p class="mm-hint mm-end">{end}</p>'
    return f'<button type="button" class="mm-more" data-more="{min(DEPTH, k + FIRST)}">Show more</button>'


def _elsewhere(page: Page, link: Link, address: str) -> str:
    """The same search as an address, a command and a notebook's lines, each to be copied."""
    library = str(page.library.path) if page.trusted else "LIBRARY"
    uploads = sum(part.kind == "picture" for part in link.asked.parts)
    notes = [f"Your picture{'s are' if uploads > 1 else ' is'} not in the link; in the others put its path."] * bool(
        uploads
    )
    if link.asked.within:
        notes.append("The command line cannot search among chosen items: that line searches everywhere.")
        if len(link.asked.within) > links.MOST_AMONG:
            notes.append(f"The link holds at most {links.MOST_AMONG} chosen items, and leaves these out.")
    blocks = (
        ("link", "Link", f"?{address}"),
        ("command", "Command", links.command(link, library)),
        ("python", "Python", links.notebook(link, library)),
    )
    drawn = "".join(
        f'<div class="mm-copy"><span>{name}</span><pre data-copied="{key}" tabindex="0">{escape(text)}</pre>'
        f'<button type="button" data-copy="{key}">copy</button></div>'
        for key, name, text in blocks
    )
    return (
        '<details class="mm-elsewhere"><summary>Share or repeat this search</summary>'
        f"{notice(' '.join(notes))}{drawn}</details>"
    )


def first_look(page: Page) -> tuple[str, str]:
    """What stands on the page before anything was asked: what to do, examples, some items of the library."""
    shown: list[Item] = list(itertools.islice(page.library.items(), FIRST_LOOK))
    if not shown:
        return notice("The library is empty: add files or a folder in the Library tab."), ""
    line = '<p class="mm-summary"><strong>Ask for something</strong>, or begin with one of these.</p>'
    steps = "".join(f"<li><strong>{escape(name)}</strong> {escape(does)}</li>" for name, does in STEPS)
    examples = "".join(_example(*one) for one in _examples(shown))
    return line, (
        f'<div class="mm-welcome"><div class="mm-pills">{examples}</div><ol class="mm-steps">{steps}</ol>'
        '<p class="mm-hint">Keys: / to write, arrows from result to result, Enter to open one, Esc to close it.</p>'
        f"</div>{grid([card(item) for item in shown], 'Some items of the library')}"
    )


def _examples(shown: Sequence[Item]) -> list[tuple[str, Asked]]:
    found = [(f"{words}, not {avoid}" if avoid else words, Asked.of(words, avoid=avoid)) for words, avoid in EXAMPLES]
    picture = next((item for item in shown if item.kind == "image"), None)
    return [*found, ("like a picture of the library", Asked.of(item=picture.id))] if picture else found


def _example(says: str, asked: Asked) -> str:
    return (
        f'<button type="button" class="mm-pill" data-go="{escape(links.address(Link(asked)))}">{escape(says)}</button>'
    )


def _scale(hit: Hit) -> str:
    """What the scores on the cards count, where that is not a cosine."""
    joined = bool(hit.trail) and hit.trail[-1].stage.endswith("@all")
    return f' · <span class="mm-hint">scores: {STANDARDISED}</span>' if joined else ""


def _nothing(wanted: Asked, recipe: str) -> str:
    if wanted.kinds or wanted.conditions.strip() or wanted.within:
        return "Nothing in the library passes these filters: clear the kinds or the metadata filter, and search again."
    return f"{recipe} finds nothing: no item has vectors there yet. Choose another recipe, such as one with @all."
