"""How retrieval works here: nouns, recipe, library, search, diagnostics. Imports neither torch nor gradio."""
