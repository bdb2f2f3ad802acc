"""Stage dataset: labelled data of many formats becomes examples of one shape."""
