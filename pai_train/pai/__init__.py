"""The second front door: PAI commands and PAI-TensorFlow scripts, run as they are."""
