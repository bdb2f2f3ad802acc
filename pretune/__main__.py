"""`python -m pretune` is `pretune`."""

from pretune.cli import main

if __name__ == "__main__":
    main()
