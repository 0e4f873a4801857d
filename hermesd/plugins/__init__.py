"""Other people's code in the daemon: found, loaded for those profiles that name it, and held to its bounds."""
