"""The face: a Gradio page over one library. Callbacks turn widgets into a Query and a recipe, ask the engine, draw."""
