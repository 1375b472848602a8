"""What is known of a checkpoint without loading it: one light module a family, none of which imports torch."""
