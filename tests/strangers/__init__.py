"""Strangers' files: a small grammar of what is odd about them, each with its right reading known by construction.

    verb x what the file holds x its form, then one to three oddities, in the order in which a file is made:
    chat, tags | values, missing, nesting | damage | names | quoting | parquet | ends of lines | encoding | packing

    words.py    what the files say          rows.py names.py lines.py octets.py talk.py tagging.py tables.py
    draft.py    a file in the making                    the oddities, each knows what is then to be read
    forms.py    how it is written           drawing.py  a case by its number: the same each time
    reading.py  what a row says             judging.py  the command line's answer held against it

Where the right reading may be argued, this is how it was decided - for what a careful human would read, or for a clear
refusal; where both are right, a refusal is no fault:

* An empty cell, null, NaN and Infinity are nothing: an unlabelled row or one without text is left out, of labelled data
  with a count. `NA`, `None`, `null` as the word in a cell is that word.
* A number where a text belongs is the number written out; a list of texts is joined or left out with a word; an object
  is left out with a word. None of them becomes JSON in the text.
* Ends of lines are \\n, \\r\\n and \\r. U+2028, U+0085, form feed and their like are letters of a text.
* A byte that is no UTF-8 is one damaged place: U+FFFD and counted, or (in lines of JSON) its line left out and counted.
  A byte zero in ASCII is dropped and counted.
* Latin-1, Shift-JIS, EUC-KR, Big5, KOI8 and their like are read as meant, mended with a word, or refused; never other
  letters. UTF-16 without a mark is read or refused.
* A title next to a body is no text where the other column holds the long one. Names that say nothing are asked for.
* A file without names in its first line, or with two columns of one name, is refused or read as meant.
* Among tabs a quote is a letter, unless every cell is quoted. In a csv a quote that is never closed damages its own row
  only; a cell too many damages its row; backslash and quote, or a blank before a quote, are read as meant or refused.
* The names of the columns once more in the middle (two exports in one file) are no example, and are told.
* `sep=;` in the first line is Excel's word for the delimiter. Blank lines in front of the names are no names.
* An index without a name in front (pandas) and empty columns behind (spreadsheets) are no text.
* Of a message, a part that is no text, `weight`, `train` or `loss` change what is learnt: obeyed, refused or told.
* A greeting, a turn without content, a question without reply: what is left out is told; a question behind the last
  reply may stay or go. Two questions in a row stand as they are, or are joined.
* Of raw text, equal documents are kept once, empty ones not at all; the filter `debris` may leave out bare numbers.
"""
