"""Tools that read, write and search files below the workspace."""
