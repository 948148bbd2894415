"""ROWS to BATCHES: sources, order, position, engines. TensorFlow only in tf_data.py and queue_runner.py."""
