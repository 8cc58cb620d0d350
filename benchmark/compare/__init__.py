"""Two finished runs side by side: what differs in their settings, and in their results."""
