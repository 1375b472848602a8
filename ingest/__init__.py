"""The way in: many files to stored vectors."""
