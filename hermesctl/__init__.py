"""hermesctl: the stateless client of hermesd's Unix socket."""
