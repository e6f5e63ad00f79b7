"""MLflow: shows rows to people. One batched writer in the driver; training never waits for it."""
