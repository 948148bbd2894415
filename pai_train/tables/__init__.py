"""ROWS: schema, snapshot, slices, Arrow batches, transactional write. Knows neither TensorFlow nor config."""
