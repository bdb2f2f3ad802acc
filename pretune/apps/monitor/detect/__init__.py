"""How a change in a stream is found: `ewma` a burst of hours, `page-hinkley` and `adwin` a lasting change."""
