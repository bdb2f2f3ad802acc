"""Stage tokens: ids in raw files, and rows made of them."""
