"""What people look at: pages from templates, drawings, curves in the terminal, and numbers as people read them."""
