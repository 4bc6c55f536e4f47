"""Report of a model as one HTML file: where its time goes, and what was done with it."""
