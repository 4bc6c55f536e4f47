"""Quantization: models whose convolutions and products compute with integers of 8 bits or less."""
