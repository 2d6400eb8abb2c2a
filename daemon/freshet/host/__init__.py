"""The other side: loads plugins, describes them, evaluates sensors, runs steps."""
