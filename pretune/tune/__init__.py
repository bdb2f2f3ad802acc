"""`pretune tune`: trials of a recipe find the settings that score best on its validation split."""
