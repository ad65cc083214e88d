"""What programs ask of the studio: the REST API, the metrics, and badges to embed elsewhere."""
