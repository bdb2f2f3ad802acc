"""From files to examples: one file per format, one per shape.

    files.py        the files of an input, archives opened; which format each is in, which split it is
      conll.py      words and tags a line         lines.py     `__label__` and tab-separated lines
      parallel.py   two text files, line by line  folders.py   a folder of texts per class
      atomic.py     .inter and .item tables       trees.py     JSON whose records are deeper
      features.py   names of classes in parquet  splits.py    JSON with a key for each split
    choosing.py     which shape the records of a file have, in a fixed order
      labelled.py   label, labels, score          tagged.py    tags (and schemes.py: IOB1, BIOES ... to IOB2)
      questions.py  span                          pairs.py     pair
      dialogues.py  dialogue                      rankings.py  ranking
      preferences.py  preference

A format gives records (dicts); a shape turns a record into examples. Neither knows the other.
"""
