"""What a visitor asks: the forms of parts, recipe and conditions, and the link that holds them all."""
