"""Applications: models, what they know, and what their users do, in one artifact that is served."""
