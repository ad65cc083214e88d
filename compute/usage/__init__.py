"""What jobs used and cost: a row for each, and totals by day and by month that move with it."""
