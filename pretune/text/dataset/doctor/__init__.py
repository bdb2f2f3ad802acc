"""The doctor of labelled data: what is wrong with examples, which rows to look at, what to do."""
