"""What people look at: the explorer of passes, the report of a run, pictures, and graphs for other people's viewers."""
