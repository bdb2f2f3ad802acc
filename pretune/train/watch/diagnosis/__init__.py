"""Is my loss normal? A run beside curves that we ran, and rules that say in words what is wrong with it. No torch."""
