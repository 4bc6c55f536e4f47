"""Server of models: the Open Inference Protocol over HTTP, with batches and metrics."""
