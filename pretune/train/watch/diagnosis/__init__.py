"""Is my loss normal? A run next to curves that we ran, and rules that say in words what is wrong with it. No torch."""
