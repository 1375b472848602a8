"""The Diagnostics and Evaluate tabs, and how their findings are drawn."""
