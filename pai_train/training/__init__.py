"""TIME: the loop, devices, checkpoints, metrics, signals."""
