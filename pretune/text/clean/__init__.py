"""What is done to every text before it is stored, and what is left out: cleaners, filters, quality."""
