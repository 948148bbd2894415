"""Every process we start: start timeout, logs, group kill, restart cap."""
