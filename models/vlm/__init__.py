"""Vision-language models that read instruction, picture, clip and text together and give one vector."""
