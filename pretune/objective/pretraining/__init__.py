"""What is learnt from raw text."""
