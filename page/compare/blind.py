"""Blind side by side: two recipes' lists, names hidden, sides drawn at random; which is better, and how surely."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING, Any

from mmretrieval.engine import DEPTH
from mmretrieval.errors import BadQuery, BadRecipe
from mmretrieval.library.judgements import CHOICES, Choice, Preference
from mmretrieval.recipe import parse
from page.compare import judging, saved
from page.compare.columns import LETTERS, Answer, answers, drawn, pictured
from page.compare.judging import JUDGE_JS
from page.notices import counted, escape, notice, table
from page.query.asking import Asked, query

if TYPE_CHECKING:
    from page.state import Page

# So many recipes are judged at once.
MOST = 2
Z = 1.959963984540054  # 95 % of a normal distribution lies within
ASK = "Which list answers better? Left: ←, right: →, no difference: T. The recipes stay hidden until the end."
BLIND_JS = (
    """
const panel = () => element.querySelector('[data-turn]');
let said = '';
const choose = (choice) => {
  const shown = panel();
  if (!shown || said === shown.dataset.turn) return;
  said = shown.dataset.turn;
  trigger('select', {do: 'choose', choice, turn: said});
};
watch('value', () => { said = ''; });
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-choice]');
  if (button) choose(button.dataset.choice);
});
document.addEventListener('keydown', (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
  const moves = event.target.closest?.('[role="tab"], [role="slider"], [role="listbox"]');
  if (typing || moves || event.repeat || event.altKey || event.ctrlKey || event.metaKey) return;
  if (!panel() || !element.getClientRects().length || !element.offsetParent) return;
  const choice = {ArrowLeft: 'left', ArrowRight: 'right', t: 'tie', T: 'tie'}[event.key];
  if (!choice) return;
  event.preventDefault();
  choose(choice);
});
"""
    + JUDGE_JS
)


@dataclass(frozen=True)
class Turn:
    """A query with the recipes as they stand, left and right, what each gives, and what was chosen."""

    asked: Asked
    left: str
    right: str
    choice: Choice | None = None


@dataclass(frozen=True)
class Sitting:
    """One visitor's blind comparison: the recipes, all its turns in order, whose turn it is.

    `same` counts the queries that were not asked because both lists begin alike, `shown` the recipes that the tab
    showed, of which the first two are judged.
    """

    run: str
    recipes: tuple[str, str]
    k: int
    turns: tuple[Turn, ...]
    place: int = 0
    same: int = 0
    shown: int = MOST

    @property
    def over(self) -> bool:
        """Whether no turn is left."""
        return self.place >= len(self.turns)

    @property
    def token(self) -> str:
        """What a choice has to name, so that a late second click is not taken for the next query's."""
        return f"{self.run}:{self.place}"


@dataclass(frozen=True)
class Tally:
    """How often each of two recipes was preferred, and Wilson's 95 % interval of the first one's share of `decided`."""

    first: str
    second: str
    wins: int
    losses: int
    ties: int

    @property
    def decided(self) -> int:
        """The queries on which one was preferred."""
        return self.wins + self.losses

    @property
    def judged(self) -> int:
        """The queries of which something was said, ties too."""
        return self.decided + self.ties

    @property
    def interval(self) -> tuple[float, float]:
        """From 0 to 1 where nothing was decided."""
        return wilson(self.wins, self.decided)


def wilson(wins: int, number: int, z: float = Z) -> tuple[float, float]:
    """The interval of a share of `wins` among `number` (Wilson 1927); (0, 1) for none.

    It is where p0 lies if a normal test of p0 at the level of `z` does not refuse it, and never leaves 0 to 1.
    """
    if number == 0:
        return 0.0, 1.0
    share, square = wins / number, z * z
    middle = (share + square / (2 * number)) / (1 + square / number)
    half = z / (1 + square / number) * sqrt(share * (1 - share) / number + square / (4 * number * number))
    return (0.0 if wins == 0 else middle - half), (1.0 if wins == number else middle + half)


def tally(first: str, second: str, preferences: Iterable[Preference]) -> Tally:
    """What the preferences between two recipes say, the last one of each query, whichever side they stood on."""
    last = {p.query: p for p in preferences if {p.left, p.right} == {first, second}}
    chosen = [p.left if p.choice == "left" else p.right if p.choice == "right" else "" for p in last.values()]
    return Tally(first, second, chosen.count(first), chosen.count(second), chosen.count(""))


def standing(page: Page, first: str, second: str) -> Tally:
    """How two recipes stand after all blind choices that the library keeps."""
    return tally(str(parse(first)), str(parse(second)), judging.judgements(page).preferences())


# --- a sitting -------------------------------------------------------------------------------------------------------


def begin(
    page: Page, names: Sequence[str], asked: Sequence[Asked], number: int, k: int, chance: random.Random | None = None
) -> Sitting:
    """A sitting of the first two of `names` over `number` of the queries, drawn at random as the sides are.

    Raises RetrievalError if read-only.
    """
    page.check_writable()
    first, second = (str(page.permitted(name)) for name in names[:MOST])
    if first == second:
        raise BadRecipe(f"both recipes are {first}: choose two that differ")
    chance = chance or random.Random(secrets.randbits(64))
    drawn_queries = chance.sample(list(asked), min(number, len(asked)))
    turns = []
    for one in drawn_queries:
        left, right = (first, second) if chance.random() < 0.5 else (second, first)
        turns.append(Turn(one, left, right))
    return Sitting(secrets.token_hex(8), (first, second), k, tuple(turns), shown=len(names))


def look(page: Page, sitting: Sitting) -> tuple[Sitting, list[Answer]]:
    """The sitting at the next turn whose lists differ, with both; where none is left it is over, without lists."""
    while not sitting.over:
        turn = sitting.turns[sitting.place]
        found = answers(page, query(page, turn.asked), (turn.left, turn.right), DEPTH)
        if found[0].ids[: sitting.k] != found[1].ids[: sitting.k]:
            return sitting, found
        sitting = replace(sitting, place=sitting.place + 1, same=sitting.same + 1)
    return sitting, []


def choose(page: Page, sitting: Sitting, choice: object, token: object) -> Sitting:
    """Keeps a choice and goes on to the next turn; what names another turn than this one changes nothing."""
    page.check_writable()
    if sitting.over or token != sitting.token:
        return sitting
    known = next((one for one in CHOICES if one == choice), None)
    if known is None:
        raise BadQuery(f"{str(choice)[:40]!r} is no choice: give one of {', '.join(CHOICES)}")
    turn = sitting.turns[sitting.place]
    record(page, turn.asked, turn.left, turn.right, known, sitting.run)
    made = (*sitting.turns[: sitting.place], replace(turn, choice=known), *sitting.turns[sitting.place + 1 :])
    return replace(sitting, turns=made, place=sitting.place + 1)


def record(page: Page, asked: Asked, left: str, right: str, choice: Choice, run: str) -> Preference:
    """Keeps which of two lists was better for a query. Raises RetrievalError on a page that only shows."""
    page.check_writable()
    left, right = str(page.permitted(left)), str(page.permitted(right))
    return judging.judgements(page).prefer(judging.as_judged(page, asked, keep=True), left, right, choice, run)


# --- what is shown ---------------------------------------------------------------------------------------------------


def asking(page: Page, sitting: Sitting, found: Sequence[Answer], spoken: str) -> str:
    """One turn: the query, both lists without names, three buttons."""
    turn = sitting.turns[sitting.place]
    items = page.library.items_by_id(list({ident for answer in found for ident in answer.ids[: sitting.k]}))
    buttons = "".join(
        f'<button type="button" class="mm-try" data-choice="{choice}">{said}</button>'
        for choice, said in (("left", "← Left is better"), ("tie", "No difference (T)"), ("right", "Right is better →"))
    )
    pair = " · A against B" if sitting.shown > MOST else ""
    grid = drawn(items, found, sitting.k, judging.grades(page, turn.asked), blind=True)
    return (
        f'<div data-turn="{sitting.token}"><p class="mm-summary"><strong>{sitting.place + 1} of '
        f"{len(sitting.turns)}</strong>{pair} · {escape(spoken)}</p>{pictured(page, turn.asked)}"
        f'<div class="mm-choices" role="group" aria-label="Which list is better?">{buttons}</div>{grid}</div>'
    )


def which(shown: int) -> str:
    """Which two of the recipes that the tab shows are judged, where it shows more."""
    if shown <= MOST:
        return ""
    others = " and ".join(LETTERS[MOST:shown])
    return f"A against B: two recipes are judged blind; {others} {'is' if shown == 3 else 'are'} no part of it."


def revealed(page: Page, sitting: Sitting) -> str:
    """The end: who was who, and the win rate with its interval; of all sittings too, where there are more."""
    first, second = sitting.recipes
    done = [turn for turn in sitting.turns if turn.choice is not None]
    if not done:
        told = f"{which(sitting.shown)} Nothing was chosen.".lstrip()
        if sitting.same:
            told += f" Both recipes gave the same first {sitting.k} for {sitting.same} of the queries."
        return notice(told)
    preferences = judging.judgements(page).preferences()
    own = tally(first, second, [p for p in preferences if p.run == sitting.run])
    everything = tally(first, second, preferences)
    rows = [(turn.asked.sentence, _winner(turn, turn.choice), turn.left, turn.right) for turn in done]
    chosen = saved.preferred(page, sitting, own, everything)
    more = ""
    if everything.judged > own.judged:
        pooled = "With all earlier sittings on these two, however long their lists"
        more = f'<p class="mm-summary">{pooled}: {verdict(everything)}</p>'
    same = (
        f'<p class="mm-hint">{sitting.same} more not asked: both recipes gave the same first {sitting.k}.</p>'
        if sitting.same
        else ""
    )
    said = f'{notice(which(sitting.shown))}<p class="mm-finding">{verdict(own)}</p>'
    return (
        f'<div class="mm-found">{said}{more}{same}{chosen}'
        f"{table('Who was who', ('query', 'better', 'left was', 'right was'), rows)}</div>"
    )


def _winner(turn: Turn, choice: Choice | None) -> str:
    return {"left": turn.left, "right": turn.right}.get(choice or "", "no difference")


def verdict(found: Tally) -> str:
    """The win rate in a sentence: which recipe, of how many decided queries, ties, and what the interval means."""
    ties = counted(found.ties, "tie")
    names = f"<code>{escape(found.first)}</code>", f"<code>{escape(found.second)}</code>"
    if not found.decided:
        return f"Between {names[0]} and {names[1]} nothing was decided: {ties}."
    ahead = found.wins >= found.losses
    one = found if ahead else Tally(found.second, found.first, found.losses, found.wins, found.ties)
    better, other = names if ahead else names[::-1]
    low, high = one.interval
    if low > 0.5:
        means = "All of the interval lies above a half: on queries like these it is the better one."
    else:
        means = "The interval holds a half: these choices do not show that either is better."
    rate = f"{_percent(one.wins / one.decided)}, 95 % interval {_percent(low)} to {_percent(high)}"
    return (
        f"{better} was preferred to {other} on <strong>{one.wins} of {one.decided}</strong> decided queries: a win "
        f"rate of {rate} (Wilson; {ties} left out). {means}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def numbers(found: Tally) -> dict[str, Any]:
    """The tally for programs."""
    low, high = found.interval
    held = {"first": found.first, "second": found.second, "wins": found.wins, "losses": found.losses}
    rate = found.wins / found.decided if found.decided else None
    return held | {"ties": found.ties, "win_rate": rate, "low": low, "high": high, "interval": "Wilson, 95 %"}
