"""Stage tokenizer: vocabularies learnt from a corpus."""
