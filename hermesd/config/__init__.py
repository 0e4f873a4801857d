"""Configuration: schema, loading, .env, reload, writing."""

MAX_CONFIG_BYTES = 1024 * 1024
MAX_ENV_BYTES = 64 * 1024
