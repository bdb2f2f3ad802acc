"""Where texts come from: a folder, a file that grows, a feed, standard input."""
