"""Recipe text and value are inverse to each other; every mistake is answered with what would have been right."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval import recipe
from mmretrieval.catalog import EncoderSpec
from mmretrieval.errors import BadRecipe
from mmretrieval.recipe import SLOTS, Recipe, Source, Stage, first_alone, joins, parse, with_stages
from mmretrieval.search import COMPOSERS, CORRECTIONS, FUSERS, ONE_VIEW, READERS, RERANKERS
from mmretrieval.stages import Parameter, StageRow
from mmretrieval.transforms import TARGETED, TRANSFORMS

TABLES = {
    "transforms": TRANSFORMS,
    "composer": COMPOSERS,
    "correction": CORRECTIONS,
    "fuser": FUSERS,
    "rerankers": RERANKERS,
}
encoders = st.builds(
    lambda name, options: str(EncoderSpec(name, tuple(sorted(options.items())))),
    st.from_regex(r"[a-z][a-z0-9._:/-]{0,12}", fullmatch=True),
    st.dictionaries(
        st.from_regex(r"[a-z]{1,6}", fullmatch=True), st.from_regex(r"[a-z0-9/._-]{1,8}", fullmatch=True), max_size=2
    ),
)
sources = st.builds(Source, encoders, st.sampled_from(recipe.SEARCHED_VIEWS))


models = st.from_regex("[a-z][a-z0-9:/-]{0,9}(;a=[a-z0-9]{1,4})?", fullmatch=True)


def stages(table):
    def arguments(name):
        values = [
            st.integers(int(p.low), int(p.high)).map(float) if p.whole else st.floats(p.low, p.high)
            for p in table[name].parameters
        ]
        model = models if name in READERS or name in TARGETED else st.just("")
        return st.builds(Stage, st.just(name), st.tuples(*values), model)

    return st.sampled_from(sorted(table)).flatmap(arguments)


@st.composite
def recipes(draw):
    named = tuple(draw(st.lists(sources, min_size=1, max_size=3, unique=True)))
    able = {name: row for name, row in RERANKERS.items() if named[0].view != "all" or name not in ONE_VIEW}
    return Recipe(
        named,
        tuple(draw(st.lists(stages(TRANSFORMS), max_size=2))),
        draw(stages(COMPOSERS)),
        draw(st.none() | stages(CORRECTIONS)),
        draw(stages(FUSERS)) if len(named) > 1 else None,
        tuple(draw(st.lists(stages(able) | stages(READERS), max_size=2))),
    )


# --- text and value ------------------------------------------------------------------------------------------------


@given(recipes())
def test_the_text_of_a_recipe_reads_back_as_it(value):
    assert parse(str(value)) == value
    assert str(parse(str(value))) == str(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_an_argument_is_written_so_that_it_reads_back(number):
    name, written = str(Stage("x", (number,))).split(":")
    assert name == "x"
    assert float(written) == number


def test_whole_arguments_are_written_without_a_point():
    numbers = (60.0, 1234567.0, 0.1, 1e-7)
    assert str(Stage("rrf", numbers)) == "rrf:60:1234567:0.1:1e-07"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("lite", "lite@all,sum"),
        ("lite@visual", "lite@visual,sum"),
        ("lite@visual+lite-0@visual", "lite@visual+lite-0@visual,sum,rrf:60"),
        ("lite,center,gram", "lite@all,center,sum,gram:100"),
        ("lite,sum,span:7,gram", "lite@all,sum,span:7,gram:100"),
        ("a+b,rrf:1.5", "a@all+b@all,sum,rrf:1.5"),
        ("  a @ visual + b , center , gram : 50 ".replace(" : ", ":"), "a@visual+b@all,center,sum,rrf:60,gram:50"),
        ("clip-b32;checkpoint=/x/y.pt;precision=fp32@visual", "clip-b32;checkpoint=/x/y.pt;precision=fp32@visual,sum"),
        ("open_clip:ViT-L-14/datacomp@text", "open_clip:ViT-L-14/datacomp@text,sum"),
        ("lite,nnn:64,gram", "lite@all,sum,nnn:64:0.75,gram:100"),
        ("lite,center,align:st:a/b", "lite@all,center,align:st:a/b,sum"),
        ("lite,cross:st_cross:a/b", "lite@all,sum,cross:st_cross:a/b:100"),
        ("lite,cross:st_cross:a/b;x=1:20,gram", "lite@all,sum,cross:st_cross:a/b;x=1:20,gram:100"),
    ],
)
def test_the_text_hides_no_default(text, whole):
    assert str(parse(text)) == whole
    assert parse(whole) == parse(text)


def test_defaults_are_those_of_the_tables():
    value = parse("a+b,gram")
    assert value.composer == Stage("sum")
    assert value.fuser == Stage("rrf", (60.0,))
    assert value.rerankers == (Stage("gram", (100.0,)),)


# --- the tables ----------------------------------------------------------------------------------------------------


def test_stage_names_are_unique_across_the_tables():
    names = list(itertools.chain(*TABLES.values()))
    assert len(names) == len(set(names))
    assert recipe.DEFAULT_COMPOSER in COMPOSERS
    assert recipe.DEFAULT_FUSER in FUSERS


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=name) for table in TABLES.values() for name, row in table.items()]
)
def test_every_row_makes_a_promise_and_has_defaults_within_bounds(row):
    assert row.promise.endswith(".")
    assert callable(row.run)
    for parameter in row.parameters:
        assert parameter.low <= parameter.default <= parameter.high
        assert not parameter.whole or parameter.default == int(parameter.default)


# --- mistakes ------------------------------------------------------------------------------------------------------


@given(st.sampled_from([n for table in TABLES.values() for n in table if len(n) > 3]), st.data())
def test_a_misspelt_stage_is_answered_with_the_nearest(name, data):
    place = data.draw(st.integers(0, len(name) - 1))
    wrong = name[:place] + name[place + 1 :]
    with pytest.raises(BadRecipe, match=f"no stage is called '{wrong}'. Did you mean .*'{name}'"):
        parse(f"lite,{wrong}")


@given(st.sampled_from(list(itertools.permutations(range(5), 2))))
def test_stages_in_another_order_are_refused(places):
    first, second = places
    names = [next(iter(table)) for _, table, _ in SLOTS]
    text = f"a+b,{names[first]},{names[second]}"
    if first < second:
        assert str(parse(text))
        return
    with pytest.raises(BadRecipe) as refused:
        parse(text)
    assert f"{SLOTS[second][0]} '{names[second]}' stands after a {SLOTS[first][0]}" in str(refused.value)
    assert "transform, composer, correction, fuser, reranker" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no encoder: begin with one"),
        ("lite,rescore", "rescore compares items by one view: name it, as in lite@visual"),
        ("lite,nnn,csls", "has two corrections, 'nnn' and 'csls': keep one"),
        ("lite,align", "align names no model: write align:MODEL"),
        (",gram", "names no encoder: begin with one"),
        ("@visual", "'@visual' names no encoder before the @"),
        ("lite+", "names no encoder"),
        ("lite@visaul", "'visaul' is not a view, use visual, text, joint, all; did you mean 'visual'"),
        ("lite@", "is not a view"),
        ("lite+lite", "the same encoder and view twice"),
        ("lite@all+lite", "the same encoder and view twice"),
        ("lite,grm", "Did you mean 'gram'"),
        ("lite,xyz", "There are: .*gram"),
        ("lite,NNN", "Did you mean 'nnn'"),
        ("lite,nope", "'nope'. There are"),
        ("lite@VISUAL", "did you mean 'visual'"),
        ("lite,", "no stage is called ''"),
        ("lite,,gram", "no stage is called ''"),
        ("lite,rrf", "rrf joins several lists; add an encoder"),
        ("lite,sum,sum", "two composers, 'sum' and 'sum': keep one"),
        ("a+b,rrf,rrf:3", "two fusers"),
        ("lite,center:3", r"center takes 0 arguments \(center\), not 1"),
        ("lite,gram:5:6", r"gram takes 1 arguments \(gram:depth\), not 2"),
        ("lite,cross", "cross names no model: write cross:MODEL:DEPTH"),
        ("lite,cross:", "cross names no model"),
        ("lite,cross:a:0", "cross's depth is a whole number from 1 to 10000, not '0'"),
        ("lite,gram:0", "gram's depth is a whole number from 1 to 10000, not '0'"),
        ("lite,gram:10001", "not '10001'"),
        ("lite,gram:2.5", "a whole number"),
        ("lite,gram:nan", "not 'nan'"),
        ("lite,gram:inf", "not 'inf'"),
        ("lite,gram:", "not ''"),
        ("lite,gram:many", "not 'many'"),
        ("a+b,rrf:-1", "rrf's k is a number from 0 to 10000, not '-1'"),
    ],
)
def test_a_mistake_says_what_would_have_been_right(text, said):
    with pytest.raises(BadRecipe, match=said):
        parse(text)


@given(st.text(alphabet="lite@visual+,:;gramcenterrrf0159.-e ", max_size=40))
def test_any_text_is_a_recipe_or_a_bad_one(text):
    try:
        value = parse(text)
    except BadRecipe:
        return
    assert parse(str(value)) == value


def test_a_row_with_several_parameters(monkeypatch):
    row = StageRow(len, "A test.", (Parameter("a", "how many", 1, 0, 9), Parameter("b", "which share", 0.5, 0, 1)))
    monkeypatch.setitem(RERANKERS, "several", row)
    assert str(parse("lite,several:3")) == "lite@all,sum,several:3:0.5"
    assert parse("lite,several:3:0.25").rerankers == (Stage("several", (3.0, 0.25)),)
    with pytest.raises(BadRecipe, match="several's b is a number from 0 to 1"):
        parse("lite,several:3:2")
    assert math.isclose(parse("lite,several").rerankers[0].arguments[1], 0.5)


def test_a_recipe_of_endless_stages_is_refused() -> None:
    with pytest.raises(BadRecipe, match="more than 16"):
        parse("lite" + ",center" * 17)
    with pytest.raises(BadRecipe, match="more than 16"):
        parse("+".join(f"lite{n}" for n in range(18)))


def test_one_encoder_has_one_spelling_in_a_recipe() -> None:
    assert str(recipe.parse("a ; y=2;x=1 @visual")) == "a;x=1;y=2@visual,sum"
    with pytest.raises(BadRecipe, match="same encoder and view twice"):
        recipe.parse("a;x=1;y=2@text+a;y=2;x=1@text")


@pytest.mark.parametrize(
    ("recipe", "stage", "changed"),
    [
        ("lite@visual", "center", "lite@visual,center,sum"),
        ("lite@visual,gram", "center", "lite@visual,center,sum,gram:100"),
        ("lite@visual,whiten", "center", "lite@visual,whiten:0,center,sum"),
        ("lite@visual,csls", "nnn:3", "lite@visual,sum,nnn:3:0.75"),
        ("lite@all", "span:50", "lite@all,sum,span:50"),
        ("lite@visual+lite-0@visual", "rrf:10", "lite@visual+lite-0@visual,sum,rrf:10"),
    ],
)
def test_a_stage_goes_where_it_belongs_and_takes_the_place_of_its_like(recipe, stage, changed):
    assert str(with_stages(parse(recipe), stage)) == changed


@pytest.mark.parametrize(
    ("recipe", "stage", "says"),
    [
        ("lite@all", "superglobal", "one view"),
        ("lite@visual", "rrf", "joins several lists"),
        ("lite@visual", "centre", "Did you mean 'center'"),
        ("lite@visual", "<script>", "no stage is called"),
    ],
)
def test_what_a_recipe_cannot_hold_is_refused(recipe, stage, says):
    with pytest.raises(BadRecipe, match=says):
        with_stages(parse(recipe), stage)


def test_several_stages_go_in_at_once_but_not_two_where_a_recipe_holds_one():
    plain = parse("lite@visual,csls")
    assert str(with_stages(plain, "span", "nnn", "center")) == "lite@visual,center,sum,nnn:128:0.75,span:100"
    assert with_stages(plain) == plain
    with pytest.raises(BadRecipe, match="one correction, not nnn and qbnorm"):
        with_stages(plain, "nnn", "qbnorm")


def test_the_first_source_alone_needs_no_fuser():
    assert str(first_alone(parse("lite@visual+lite-0@visual,center,rrf:3"))) == "lite@visual,center,sum"
    # What reads words and pictures at once was the other encoder.
    assert str(first_alone(parse("lite@visual+lite-joint@joint,rrf:60"))) == "lite@visual,sum"
    assert str(first_alone(parse("lite-joint@joint+lite@visual,rrf:60"))) == "lite-joint@joint,joint"
    assert joins("rrf:3") and not joins("nnn")


def test_a_recipe_of_more_than_anybody_reads_is_refused():
    with pytest.raises(BadRecipe, match="at most 4,000 are read"):
        parse("lite," + "x" * 4000)
