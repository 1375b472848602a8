"""The Compare tab: recipes in step, over many queries, blind, and judged."""
