"""The programs that ours stands beside, started for one measurement."""
