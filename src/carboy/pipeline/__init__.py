"""How a request is followed: step, segment, plan, driver. Knows of HTTP only "a response or None"."""
