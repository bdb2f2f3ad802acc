"""What a run takes, told before it begins: memory and seconds."""
