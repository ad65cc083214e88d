"""What people run, and what became of it."""
