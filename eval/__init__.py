"""The judge: a dataset and a recipe in, a run file and its metrics out."""
