"""Payloads and filters of every shape that a caption file can bring in."""

from __future__ import annotations

from hypothesis import strategies as st

from mmretrieval.filters import AllOf, AnyOf, Condition, Filter, Not

# SQLite reads a string up to a NUL, and neither it nor Qdrant takes half a surrogate pair.
ALPHABET = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
WORDS = st.sampled_from(
    ["", "image", "video", "true", "=true", "=", "3", "é😀", "it's", 'say "x"', "back\\slash", "null"]
)
TEXTS = WORDS | st.text(ALPHABET, max_size=4)
SMALL = st.integers(-4, 4)
# Around the places where doubles begin to skip whole numbers, and where 64 bits end.
LARGE = st.sampled_from(
    [s * (n + d) for n in (2**53, 2**60) for d in (-1, 0, 1) for s in (1, -1)] + [2**63 - 1, -(2**63)]
)
FLOATS = st.sampled_from([0.1, 0.1 + 0.2, 0.3, -0.0, 3.0, -2.5, 1e300, 5e-324, 2.0**53, 2.0**60]) | st.floats(
    allow_nan=False, allow_infinity=False
)
SCALARS = TEXTS | SMALL | LARGE | FLOATS | st.booleans()
KEYS = st.sampled_from(["a", "b", "a-b", "0", "-", "_x", "odd key", "é", "a.b", ""])

VALUES = st.recursive(
    st.none() | SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
PAYLOADS = st.fixed_dictionaries(
    {}, optional={"kind": VALUES, "page": VALUES, "lang": VALUES, "meta": st.dictionaries(KEYS, VALUES, max_size=4)}
)

FIELDS = st.sampled_from(
    [
        "kind",
        "page",
        "lang",
        "meta",
        "meta.a",
        "meta.b",
        "meta.a.b",
        "meta.a.a",
        "meta.a-b",
        "meta.0",
        "meta.-",
        "meta._x",
    ]
)
EQUALS = st.builds(Condition, FIELDS, st.just("eq"), SCALARS)
AMONG = st.builds(Condition, FIELDS, st.just("in"), st.lists(SCALARS, max_size=4).map(tuple))
EXISTS = st.builds(Condition, FIELDS, st.just("exists"), st.booleans())
# Orderings against larger numbers are compared as doubles by Qdrant, which its module says.
BOUNDS = (
    SMALL
    | st.sampled_from([2**53 - 1, 1 - 2**53, 0.5, 3.0, float("inf"), float("-inf"), float("nan")])
    | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
)
ORDERED = st.builds(Condition, FIELDS, st.sampled_from(["lt", "lte", "gt", "gte"]), BOUNDS)

FILTERS: st.SearchStrategy[Filter] = st.recursive(
    EQUALS | AMONG | EXISTS | ORDERED,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(AllOf, st.lists(inner, max_size=3).map(tuple))
        | st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=5,
)
