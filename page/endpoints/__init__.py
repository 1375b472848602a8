"""Every operation under a name, with typed arguments, for programs and agents."""
