"""Commands in a process group of their own."""
