"""Results: their schema, their statistics and the files that hold them."""
