"""Recipes that the page offers, and what a fix makes of one."""

from __future__ import annotations

from mmretrieval.recipe import parse
from page.query import recipes
from page.query.asking import Asked
from page.search import tab as search
from page.state import Page


def test_every_suggested_recipe_parses_and_finds(page: Page) -> None:
    for _, recipe in recipes.suggestions(("lite", "lite-0", "hashing")):
        parse(recipe)
    offered = [recipe for _, recipe in recipes.suggestions(("hashing",))]
    assert [recipes.complaint(recipe, page.library) for recipe in offered] == [""] * len(offered)
    for recipe in offered:
        assert search.search(page, Asked.of("red car"), recipe, 4).hits, recipe
    for stage in ("center", "nnn", "csls", "mrl,rescore", "superglobal"):
        assert f"hashing@visual,{stage}" in offered
    assert "hashing@all,span:100" in offered and offered[-1] == "hashing@all,gram:100"
    assert "pick one" in recipes.complaint("", page.library)


def test_two_encoders_are_joined_where_they_are_changed_alike() -> None:
    assert recipes.joined("lite@visual", "lite-0@visual") == "lite@visual+lite-0@visual,sum,rrf:60"
    assert recipes.joined("lite@visual,center", "lite-0@visual,center").startswith("lite@visual+lite-0@visual,center")
    assert recipes.joined("lite@visual", "lite@visual") == ""
    assert recipes.joined("lite@visual", "lite-0@visual,center") == ""
    assert recipes.joined("lite@visual+lite-0@visual", "hashing") == ""
