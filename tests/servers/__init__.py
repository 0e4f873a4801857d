"""Real and third-party servers that tests start on loopback; each file also runs from a shell."""
