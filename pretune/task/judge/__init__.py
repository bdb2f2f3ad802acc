"""How answers are judged: figures of labels and of replies, and the simple systems that they must beat."""
