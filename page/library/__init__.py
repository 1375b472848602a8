"""The Library tab: what is in it, what failed, what stands twice, what it takes on disk."""
