"""The Search tab: results, one of them in detail, and why it was found."""
