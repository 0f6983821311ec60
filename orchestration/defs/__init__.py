"""Where `dg scaffold defs` puts optional YAML components; our own definitions are built in `orchestration.definitions`."""
