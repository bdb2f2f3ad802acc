"""What is there twice: near copies, repeated paragraphs, evaluation texts in the training text."""
