"""Who may have how many cores, who has them now, and what may be spent."""
