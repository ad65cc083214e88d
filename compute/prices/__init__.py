"""What an hour of a node costs: list prices, what Owners set in their place, and what their own machines cost."""
