"""A profile at work: router, delivery, chat platforms."""
