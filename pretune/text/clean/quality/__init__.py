"""What a text is like, in numbers: statistics, its language, and the rules that read them.

Everything measured is stored as a column, so a threshold is changed later without reading a text again.
"""
