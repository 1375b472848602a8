"""What a search found, as it is shown: bars, what chance would find as well, near copies behind the best of them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from mmretrieval.copies import seen
from mmretrieval.engine import DEPTH
from mmretrieval.recipe import parse
from mmretrieval.timing import in_words
from mmretrieval.types import Contribution, Hit, Item, Query, Run
from page.notices import attempt, counted, escape, notice
from page.query import links
from page.query.asking import KIND_NAMES, Asked, query
from page.query.links import FIRST, Link
from page.search import folding, judged, saved
from page.search.cards import STANDARDISED, Bar, Card, card, cut, grid, title

if TYPE_CHECKING:
    from page.state import Page

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
NOTHING_ASKED = Asked()
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


def search(page: Page, wanted: Asked, recipe: str, k: int = FIRST, *, cut: bool = False, fold: bool = True) -> Results:
    """Asks the engine and draws what it finds; what cannot be asked comes back as words.

    `cut` greys what chance would find as well, where the recipe's encoders can tell. `fold` puts what shows the same
    behind the best of it; none is left out either way.
    """
    outcome = attempt(lambda: _found(page, wanted, Link(wanted, recipe, int(k), cut, fold)))
    return outcome.value if outcome.value is not None else Results(problem=outcome.problem)


def spoken(page: Page, wanted: Asked) -> str:
    """The query in words, its library items by their own first words."""
    found = page.library.items_by_id([part.value for part in wanted.parts if part.kind == "item"])
    return wanted.said({ident: title(item) for ident, item in found.items()})


def _found(page: Page, wanted: Asked, link: Link) -> Results:
    if next(page.library.items(), None) is None:
        return Results(problem="The library is empty: add files or a folder in the Library tab, then search again.")
    asked = query(page, wanted)
    recipe = judged.with_cut_off(page, link.recipe) if link.cut else link.recipe
    run = page.engine.rank([asked], recipe, link.k, explain=True)
    hits = run.rankings[0].hits
    if not hits:
        return Results(problem=_nothing(wanted, run.recipe))
    items = page.library.items_by_id([hit.id for hit in hits])
    said, address = spoken(page, wanted), links.address(link)
    line = (
        f'<div class="mm-summary"><strong>{counted(len(hits), "result")}</strong> for {escape(said)}'
        f"<br><code>{escape(run.recipe)}</code> · {_took(run)}{_scale(hits)}{_mix(items, hits)}</div>"
        f"{_unweighed(asked, run.recipe)}{_remarks(run)}{judged.told(page, asked, hits, run.recipe, wanted=link.cut)}"
        f"{_elsewhere(page, replace(link, recipe=run.recipe), address)}"
        f"{saved.results(page, said, run.recipe, items, hits)}"
    )
    shown = drawable(items, hits)
    if link.fold:
        shown = folding.folded(shown, items, seen(page.prints, [items[one.id] for one in shown]))
    about = f'data-query="{escape(links.address(replace(link, k=FIRST, fold=True)))}" data-folded="{int(link.fold)}"'
    switch, more = folding.switch(shown, link.k, link.fold), _more(len(hits), link.k)
    drawn = f"<div {about}>{switch}{grid(shown, 'Results')}{more}</div>"
    return Results(line, drawn, {hit.id: hit for hit in hits}, address=address, said=said)


def _unweighed(asked: Query, recipe: str) -> str:
    """That sliders of words move nothing, where they were moved and a joint encoder reads all words as one sentence."""
    if parse(recipe).composer.name != "joint":
        return ""
    pulling = [p for p in asked.parts if p.content is not None and p.weight > 0 and not p.feedback]
    words = {p.weight for p in pulling if p.content is not None and p.content.modalities == ("text",)}
    if len(pulling) < 2 or words <= {1.0}:
        return ""
    said = (
        "A joint encoder reads all words that pull as one sentence: their weights change nothing here. "
        "`sum` in the recipe adds parts by weight."
    )
    return f'<p class="mm-hint">{escape(said)}</p>'


def _remarks(run: Run) -> str:
    """Where a correction is not as the recipe asks for it."""
    return "".join(f'<p class="mm-hint">{escape(remark)}</p>' for remark in run.meta.get("remarks", ()))


def drawable(items: Mapping[str, Item], hits: Sequence[Hit]) -> list[Card]:
    """Cards of the hits that are still there, in order, each with its bars and with what chance says of it."""
    there = [hit for hit in hits if hit.id in items]
    tallest = _tallest(there)
    scores: dict[str, list[float]] = {}
    for hit in there:
        scores.setdefault(_scored_by(hit), []).append(hit.score)
    some_judged = any(hit.chance is not None for hit in there)
    shown = []
    for hit in there:
        item = items[hit.id]
        height = _height(hit.score, scores[_scored_by(hit)])
        one = replace(card(item, hit), bar=height, brought=_bars(hit, tallest), tone="same")
        mark = f"in {len(item.paths)} files" if len(item.paths) > 1 else ""
        shown.append(replace(one, mark=mark, weak=hit.weak, unjudged=some_judged and hit.chance is None))
    return shown


def _height(score: float, scores: Sequence[float]) -> float:
    """A score among those shown of its stage: from 0 where none is below it, else from the lowest."""
    low, high = min(0.0, *scores), max(scores)
    return (score - low) / (high - low) if high > low else 1.0


def _scored_by(hit: Hit) -> str:
    """The stage that the score is of: a reranker gives none to what stands below its depth, or lacks a view."""
    return hit.trail[-1].stage if hit.trail else ""


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
    many = len(link.asked.within) > links.MOST_AMONG
    notes += [f"The link holds at most {links.MOST_AMONG} chosen items, and leaves these out."] * many
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
        f"{notice(' '.join(notes))}{drawn}{_chosen(link.asked) if many else ''}</details>"
    )


def _chosen(asked: Asked) -> str:
    """The file that the command takes the chosen items from, to be saved."""
    name = links.AMONG_FILE
    return (
        f'<p class="mm-hint">The command reads the {len(asked.within):,} chosen items from a file beside it: '
        f'<a download="{name}" href="data:text/plain;charset=utf-8,{quote(links.among(asked))}">save {name}</a></p>'
    )


def first_look(page: Page, wanted: Asked = NOTHING_ASKED) -> tuple[str, str]:
    """What stands on the page before anything was asked: what to do, examples, some items of the library.

    Where some items were chosen to search among, these: the examples would ask of all.
    """
    if wanted.within:
        found = page.library.items_by_id(list(wanted.within[:FIRST_LOOK]))
        chosen = [found[ident] for ident in wanted.within[:FIRST_LOOK] if ident in found]
        some = f" These are {len(chosen)} of them." if len(wanted.within) > len(chosen) else ""
        line = f"<strong>Ask for something</strong> among the {counted(len(wanted.within), 'chosen item')}.{some}"
        return f'<p class="mm-summary">{line}</p>', grid([card(item) for item in chosen], "Chosen items")
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


def _took(run: Run) -> str:
    """How long it took, and behind that where the time went."""
    said = escape(in_words(run.meta))
    return f'<span class="mm-took" title="{said}">{run.meta["seconds"]:.2f} s</span>'


def _scale(hits: Sequence[Hit]) -> str:
    """What the scores on the cards count, where that is not a cosine, and whose they are where not all of one stage."""
    stages = Counter(_scored_by(hit) for hit in hits)
    said = ""
    if len(stages) > 1:
        whose = ", ".join(f"{count} by {stage}" for stage, count in stages.items())
        said = f"scores: {whose}; compare those of one stage"
        joined = next((stage for stage in stages if stage.endswith("@all")), "")
        said += f" ({joined}: {STANDARDISED})" if joined else ""
    elif next(iter(stages)).endswith("@all"):
        said = f"scores: {STANDARDISED}"
    return f' · <span class="mm-hint">{escape(said)}</span>' if said else ""


def _nothing(wanted: Asked, recipe: str) -> str:
    if wanted.kinds or wanted.conditions.strip() or wanted.within:
        return "Nothing in the library passes these filters: clear the kinds or the metadata filter, and search again."
    return f"{recipe} finds nothing: no item has vectors there yet. Choose another recipe, such as one with @all."
