"""Against forgetting: what fine-tuning does so that what was known before stays, and how much of it is lost."""
