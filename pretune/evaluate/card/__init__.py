"""The model card: a README.md that is written from what artifacts say of themselves, in English or Chinese."""
