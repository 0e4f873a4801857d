"""Configuration: schema, loading, .env, reload."""
