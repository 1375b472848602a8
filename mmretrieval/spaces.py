"""The spaces of a library as recipes see them: stores and queries after transforms and corrections, fitted and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval import catalog, saved
from mmretrieval.bank import Bank, nulls
from mmretrieval.bank_rows import bank_rows, together
from mmretrieval.errors import BadQuery, BadRecipe
from mmretrieval.fits import Fits
from mmretrieval.late_space import LateSpace
from mmretrieval.lexical import is_lexical
from mmretrieval.lexical_space import LexicalSpace
from mmretrieval.library import Library
from mmretrieval.part_rows import PartRows, part_rows
from mmretrieval.recipe import DEFAULT_COMPOSER, Recipe, Stage
from mmretrieval.recipe_indexes import RecipeIndexes, can_be_index, refuse_to_materialise
from mmretrieval.reference import Reference
from mmretrieval.search import BLENDS, CENTRED, CORRECTIONS, JOINT
from mmretrieval.store.corrected import CorrectedStore
from mmretrieval.store.exact import ExactStore, Matrix
from mmretrieval.store.materialised import MaterialisedStore
from mmretrieval.transforms import TRANSFORMS
from mmretrieval.transforms.means import mean
from mmretrieval.types import VIEWS, Array, Encoder, Modality, Query, Transform, VectorStore, View

# The null bank's scores are taken against at most this many items of a view, evenly spaced by id.
NULL_ITEMS = 10_000
# The mean picture is taken over so many.
CENTRED_ITEMS = 2_000
# By how much of its items a view may change before a page takes the null bank's scores, and fits transforms, again.
DRIFT = 0.02
# Transformed items are held in memory up to so many bytes.
KEPT_BYTES = 2 * 2**30
PLAIN = Stage(DEFAULT_COMPOSER)


@dataclass(frozen=True)
class Null:
    """How the null bank scores on a view: mean and deviation, and the state of the spaces that they belong to."""

    mean: float
    deviation: float
    changes: Mapping[str, int]
    count: int


@dataclass(frozen=True, eq=False)
class Centres:
    """The mean row of each modality, also before any transform, and the state of the spaces that they belong to."""

    means: Mapping[Modality, Array]
    plain: Mapping[Modality, Array]
    changes: Mapping[str, int]
    count: int


@dataclass(frozen=True, eq=False)
class States:
    """The items by encoder, of a space and of those that its transforms lead to, and the last change of each space."""

    changes: Mapping[str, int]
    items: Mapping[str, Mapping[View, Matrix]]

    @property
    def count(self) -> int:
        """How many vectors there are in all."""
        return sum(len(m.ids) for matrices in self.items.values() for m in matrices.values())


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a recipe's transforms and correction are for one state of a space."""

    changes: Mapping[str, int]  # of the space, and of those that its transforms lead to
    count: int
    transforms: tuple[Transform, ...]
    store: ExactStore
    reference: Reference

    @property
    def size(self) -> int:
        """How many bytes its items take in memory."""
        return sum(matrix.rows.nbytes for matrix in self.store.matrices.values())


@dataclass(frozen=True, eq=False)
class Space:
    """One encoder's space as a recipe sees it, ready to search; `raw` is its store before any transform.

    `reference` is what a correction is fitted on here, where the space is transformed or corrected. `centres` and
    `plain_centres` are the means that the recipe's composer wants, as transforms leave them and before any.
    """

    encoder: Encoder
    store: VectorStore
    raw: VectorStore
    transforms: tuple[Transform, ...] = ()
    reference: Reference | None = None
    centres: Mapping[Modality, Array] = field(default_factory=dict)
    plain_centres: Mapping[Modality, Array] = field(default_factory=dict)

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The views that at least one item has; asked of the store once."""
        return tuple(v for v in VIEWS if self.store.count(v))

    def asked(self, queries: Sequence[Query], composer: Stage) -> PartRows:
        """The parts of queries as the encoder gave them, words and pictures read together where the composer says."""
        return part_rows(self.encoder, together(self.encoder, queries, composer), self._item)

    def composed(self, asked: PartRows, composer: Stage, *, blank: bool = False) -> Array:
        """Each query as one row (n, d): its parts transformed by modality, and composed (see PartRows)."""
        return self.turned(asked, composer).composed(composer, blank=blank)

    def turned(self, asked: PartRows, composer: Stage) -> PartRows:
        """The parts after all transforms, with the means that the composer wants."""
        for transform in self.transforms:
            asked = asked.turned(transform)
        return replace(asked, centres=self.centres) if composer.name in CENTRED else asked

    def _item(self, ident: str) -> tuple[Modality, Array]:
        """What an item stands for as a query: its pixels, or its words where it has no pixels."""
        modalities: tuple[tuple[View, Modality], ...] = (("visual", "image"), ("text", "text"), ("joint", "image"))
        for view, modality in modalities:
            rows, present = self.raw.rows(view, [ident])
            if present[0]:
                return modality, rows[0]
        raise BadQuery(
            f"item {ident} has no vector of {self.encoder.card.name}: it was removed, or is not embedded yet"
        )


class Spaces:
    """The spaces of one library. `exact` scans every vector instead of asking an index.

    `bank`: the reference queries that transforms and corrections are fitted on (default: generic captions).
    """

    def __init__(self, library: Library, *, exact: bool, bank: Bank | None = None) -> None:
        self.library, self.exact, self.bank = library, exact, bank or nulls()
        self._lock = threading.Lock()
        self._fits: dict[tuple[Any, ...], Fitted] = {}
        self._nulls: dict[tuple[Any, ...], Null] = {}
        self._centres: dict[tuple[Any, ...], Centres] = {}
        self._kept = Fits(library)
        self._indexes = RecipeIndexes(library, self._kept)

    def get(self, spec: str, recipe: Recipe) -> Space | LateSpace:
        """The space of one of the library's encoders under a recipe; what has to be fitted is fitted here."""
        card = self.library.card(spec)
        if is_lexical(spec):
            raise BadRecipe(f"{spec} compares words and has no vectors, which this needs: name an encoder")
        encoder = catalog.load(spec)
        if card.multi:
            return LateSpace(encoder, self.library.late_store(spec, exact=self.exact))
        with self._lock:
            self._indexes.let_go()
        # What mixes scores needs those of every item.
        scanned = self.exact or recipe.composer.name in BLENDS
        raw = self.library.exact_store(spec) if scanned else self.library.store(spec)
        if not recipe.transforms and recipe.correction is None:
            space = Space(encoder, raw, raw)
        else:
            with self._lock:
                over_index = None if scanned else self._materialised(spec, encoder, recipe)
                fitted = None if over_index else self._fitted(spec, encoder, recipe)
            if over_index is not None:
                space = over_index
            else:
                assert fitted is not None
                space = Space(encoder, fitted.store, raw, fitted.transforms, fitted.reference)
        if recipe.composer.name not in CENTRED:
            return space
        centres = self._means(space, recipe)
        return replace(space, centres=centres.means, plain_centres=centres.plain)

    def _means(self, space: Space, recipe: Recipe) -> Centres:
        """The mean row (d,) of words (those of the bank) and of pictures (the library's), as transforms leave them.

        Taken over at most CENTRED_ITEMS pictures, evenly spaced by id; frames share the mean of the pictures.
        """
        name = space.encoder.card.space
        key, changes, count = (name, recipe.transforms), self.changes(name, recipe), space.raw.count("visual")
        known = self._centres.get(key)
        if known is None or not (known.changes == changes or (not self.exact and near(count, known.count))):
            rows = bank_rows(space.encoder, self.bank, PLAIN).by_modality()
            held: dict[Modality, Array] = {"text": rows["text"]} if "text" in rows else {}
            ids = self.library.ledger.items_with(name, "visual")
            pictures, present = space.raw.rows("visual", ids[:: max(1, -(-len(ids) // CENTRED_ITEMS))])
            if present.any():
                held |= {"image": pictures[present], "frames": pictures[present]}
            plain = _mean_rows(held)
            for transform in space.transforms:
                held = {modality: transform.query(modality, some) for modality, some in held.items()}
            known = self._centres[key] = Centres(_mean_rows(held), plain, changes, count)
        return known

    def reference(self, spec: str, composer: Stage) -> Reference:
        """What the first transform of a space is fitted on: its items and the bank, as the encoder gave them."""
        rows = bank_rows(catalog.load(spec), self.bank, banked(composer))
        return Reference(self.library.matrices(spec), rows.by_modality(), rows.composed(banked(composer), blank=True))

    def null(self, space: Space | LateSpace | LexicalSpace, view: View, recipe: Recipe) -> tuple[float, float]:
        """Mean and deviation of the null bank's scores on a view.

        An exact engine takes them from the library as it is. Another keeps them until the view has grown or shrunk by
        DRIFT, so that searching while files come in does not read the library again after every batch.
        """
        if isinstance(space, LexicalSpace):
            return space.null()
        if "text" not in space.encoder.card.reads:
            return 0.0, 1.0  # it cannot read the bank; and of its one view, the pixels', any scale keeps the order
        name = space.encoder.card.space
        key = (name, recipe.transforms, banked(recipe.composer), recipe.correction, view)
        changes, count = self.changes(name, recipe), space.store.count(view)
        known = self._nulls.get(key)
        if known is not None and (known.changes == changes or (not self.exact and near(count, known.count))):
            return known.mean, known.deviation
        if isinstance(space, LateSpace):
            scores = space.null_scores(view, self.library.ledger.items_with(name, view))
        else:
            scores = self._null_scores(space, view, recipe)
        deviation = float(scores.std()) if scores.size else 0.0
        mean = float(scores.mean()) if scores.size else 0.0
        self._nulls[key] = Null(mean, deviation if deviation > 1e-9 else 1.0, changes, count)
        return self._nulls[key].mean, self._nulls[key].deviation

    def _null_scores(self, space: Space, view: View, recipe: Recipe) -> npt.NDArray[np.float64]:
        """The scores (q, n) of the null bank's queries against those of the items, evenly spaced, that are there."""
        rows = bank_rows(space.encoder, nulls(), banked(recipe.composer))
        bank = space.composed(rows, banked(recipe.composer), blank=True)
        if isinstance(space.store, ExactStore):
            items = space.store.matrices[view].rows
            step = max(1, -(-len(items) // NULL_ITEMS))
            if isinstance(space.store, CorrectedStore):
                # Corrections look at all items; float32 products are exact enough for a mean and a deviation.
                scores = space.store.correction.scores(view, (bank @ items.T).astype(np.float64))
                return scores[:, ::step]
            items = items[::step]
        else:
            # A transform into another encoder's space leads to the items that are there.
            ids = self.ids(space, view, recipe)
            some = ids[:: max(1, -(-len(ids) // NULL_ITEMS))]
            if isinstance(space.store, MaterialisedStore):
                # A correction that the rows hold is part of the scores here too, as it is in a scan.
                bank = space.store.asked(bank)
                items, present = space.store.entries(view, some)
            else:
                items, present = space.store.rows(view, some)
            items = items[present]
        found: npt.NDArray[np.float64] = bank.astype(np.float64) @ items.astype(np.float64).T
        return found

    # --- fitting ---------------------------------------------------------------------------------------------------

    def _fitted(self, spec: str, encoder: Encoder, recipe: Recipe) -> Fitted:
        states = self._states(spec, recipe)
        key = (spec, recipe.transforms, banked(recipe.composer), recipe.correction)
        known = self._fits.get(key)
        if known is not None and known.changes == states.changes:
            self._fits[key] = self._fits.pop(key)  # the last to be asked is the last to go
            return known
        kept = known if known is not None and not self.exact and near(states.count, known.count) else None
        # What belongs to an earlier state of this space is of no use any more.
        own = encoder.card.space
        self._fits = {k: v for k, v in self._fits.items() if k[0] != spec or v.changes[own] == states.changes[own]}
        made = self._fit_all(spec, encoder, recipe, states, kept.transforms if kept else None)
        # Transforms that were kept belong to the count that they were fitted to, else many small steps would add up.
        self._fits[key] = replace(made, count=kept.count) if kept else made
        self._make_room()
        return self._fits[key]

    def _make_room(self) -> None:
        """Lets the oldest transformed spaces go, so that asking many recipes does not fill the memory."""
        sizes = {key: fitted.size for key, fitted in self._fits.items()}
        for key in list(self._fits)[:-1]:
            if sum(sizes.values()) <= KEPT_BYTES:
                break
            del self._fits[key], sizes[key]

    def _states(self, spec: str, recipe: Recipe) -> States:
        held = {name: self.library.scanned(name)[:2] for name in (spec, *_targets(recipe))}
        changes = {self.library.card(name).space: change for name, (change, _) in held.items()}
        return States(changes, {name: items for name, (_, items) in held.items()})

    def ids(self, space: Space, view: View, recipe: Recipe) -> list[str]:
        """The items with a view, ids rising, of the space whose items are searched in the end."""
        held = [space.encoder.card.space, *(self.library.card(target).space for target in _targets(recipe))]
        return list(self.library.ledger.items_with(held[-1], view))

    def changes(self, space: str, recipe: Recipe) -> dict[str, int]:
        """The last change of a space and of those that a recipe's transforms lead to."""
        spaces = [space, *(self.library.card(target).space for target in _targets(recipe))]
        return {name: self.library.ledger.last_change(name) for name in spaces}

    def _facts(self, encoder: Encoder, recipe: Recipe, changes: Mapping[str, int]) -> dict[str, Any]:
        """What decides how the stages of a recipe come out, but for the stages themselves."""
        return {
            "space": encoder.card.space,
            "changes": dict(changes),
            "bank": {"name": self.bank.name, "digest": self.bank.digest, "queries": len(self.bank.queries)},
            "composer": str(banked(recipe.composer)),
            "code": saved.code_digest(),
        }

    def _fit_all(
        self, spec: str, encoder: Encoder, recipe: Recipe, states: States, kept: tuple[Transform, ...] | None
    ) -> Fitted:
        composer, facts = banked(recipe.composer), self._facts(encoder, recipe, states.changes)
        items = dict(states.items[spec])
        rows = bank_rows(encoder, self.bank, composer)
        transforms: list[Transform] = []
        for place, stage in enumerate(recipe.transforms):
            if stage.model:
                reference = self._led(stage.model, items, encoder, transforms, composer, states)
            else:
                reference = Reference(items, rows.by_modality(), rows.composed(composer, blank=True))
            run, after = TRANSFORMS[stage.name].run, recipe.transforms[:place]
            made = kept[place] if kept else self._kept.fit(run, reference, stage, after, facts)
            turned = reference.target.items if reference.target else items
            items = {view: Matrix(m.ids, made.items(view, m.rows)) for view, m in turned.items()}
            rows = rows.turned(made)
            transforms.append(made)
        reference = Reference(items, rows.by_modality(), rows.composed(composer, blank=True))
        store = ExactStore(items, self.library.select)
        if recipe.correction is not None:
            correct = CORRECTIONS[recipe.correction.name].run
            if kept:
                # Not what is kept on disk for this state: that follows transforms fitted to this state too.
                correction = correct(reference, *recipe.correction.arguments)
            else:
                correction = self._kept.fit(correct, reference, recipe.correction, recipe.transforms, facts)
            store = CorrectedStore(items, self.library.select, correction)
        return Fitted(states.changes, states.count, tuple(transforms), store, reference)

    def _led(
        self,
        spec: str,
        items: Mapping[View, Matrix],
        encoder: Encoder,
        transforms: Sequence[Transform],
        composer: Stage,
        states: States,
    ) -> Reference:
        """What a transform into another encoder's space is fitted on: the same parts of the bank as both read them."""
        card = self.library.card(spec)
        if card.multi:
            raise BadRecipe(f"{card.name} gives several vectors for each item: align to an encoder that gives one")
        other = catalog.load(spec)
        here = bank_rows(encoder, self.bank, composer, beside=other)
        for transform in transforms:
            here = here.turned(transform)
        there = bank_rows(other, self.bank, composer, beside=encoder)
        target = Reference(states.items[spec], there.by_modality(), there.composed(PLAIN, blank=True))
        return Reference(items, here.by_modality(), here.composed(PLAIN, blank=True), target)

    # --- indexes of transformed spaces -----------------------------------------------------------------------------

    def materialise(self, spec: str, recipe: Recipe, on_batch: Callable[[int], None] | None = None) -> int:
        """Builds an index over a space as a recipe transforms it, and removes those of earlier states.

        Gives the number of items. Of corrections only `nnn` can be part of an index, as one more entry of each row.
        Raises BadRecipe for another one, and for a recipe that changes no item; LibraryError where the fits that its
        queries would go through could not be kept.
        """
        encoder = catalog.load(spec)
        refuse_to_materialise(encoder.card, recipe)
        with self._lock:
            # What queries go through is read from disk: transforms kept in memory may be of an earlier state.
            self._fits.pop((spec, recipe.transforms, recipe.composer, recipe.correction), None)
            fitted = self._fitted(spec, encoder, recipe)
        items: Mapping[View, Matrix] = fitted.store.matrices
        if isinstance(fitted.store, CorrectedStore):
            correction: Any = fitted.store.correction
            items = {view: Matrix(m.ids, correction.augmented(view, m.rows)) for view, m in items.items()}
        return self._indexes.build(spec, recipe, self._facts(encoder, recipe, fitted.changes), items, on_batch)

    def _materialised(self, spec: str, encoder: Encoder, recipe: Recipe) -> Space | None:
        """The space over an index of the library as it is now, where there is one that this process can own."""
        if self.exact or not self.library.owns_indexes or not can_be_index(recipe):
            return None
        changes = self.changes(encoder.card.space, recipe)
        opened = self._indexes.find(recipe, self._facts(encoder, recipe, changes))
        if opened is None:
            return None
        return Space(encoder, opened.store, self.library.store(spec), opened.transforms)

    def close(self) -> None:
        """Lets go of the indexes that were opened here."""
        with self._lock:
            self._indexes.close()


def _targets(recipe: Recipe) -> list[str]:
    """The encoders that a recipe's transforms lead to, the last being whose items are searched."""
    return [stage.model for stage in recipe.transforms if stage.model]


def _mean_rows(rows: Mapping[Modality, Array]) -> dict[Modality, Array]:
    return {m: mean(some).astype(np.float32) for m, some in rows.items()}


def banked(composer: Stage) -> Stage:
    """How the bank's queries are composed: as the recipe says where words are read with pictures, else added.

    Other composers make the same of a part that is alone, as nearly all of a bank are.
    """
    return composer if composer.name in (DEFAULT_COMPOSER, JOINT) else PLAIN


def remarks(recipe: Recipe, spaces: Iterable[Space | LateSpace | LexicalSpace]) -> list[str]:
    """Where the recipe's correction or transforms were fitted otherwise than asked for, in some of its spaces."""
    said = set[str]()
    for space in spaces:
        if isinstance(space.store, CorrectedStore) and space.store.correction.remark:
            said.add(f"{recipe.correction}: {space.store.correction.remark}")
        if isinstance(space, Space):
            for stage, fitted in zip(recipe.transforms, space.transforms, strict=False):
                if remark := getattr(fitted, "remark", ""):
                    said.add(f"{stage}: {remark}")
    return sorted(said)


def near(count: int, known: int) -> bool:
    """Whether a view has nearly as many items as when something was fitted to it."""
    return abs(count - known) <= DRIFT * known
