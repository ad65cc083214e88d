"""Who is here, in which workspace, with which role, and what that allows."""
