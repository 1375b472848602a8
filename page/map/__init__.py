"""The Map tab: the library as points."""
