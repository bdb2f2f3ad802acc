"""Texts to ids, with the ids of the folder's own tokenizer."""
