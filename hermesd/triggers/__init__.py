"""What starts turns besides people."""
