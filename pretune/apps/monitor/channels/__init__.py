"""How alerts reach people: a line in the log, a mail, a message in a chat."""
