"""Running commands: in the foreground to their end, or in the background under an id."""
