"""Tasks: what a labelled example is and how an answer is scored; stage finetune."""
