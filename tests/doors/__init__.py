"""Every behaviour, through every door and in both colours."""
