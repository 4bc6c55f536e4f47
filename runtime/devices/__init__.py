"""Devices: what programs are lowered for and run on; ``find`` looks them up by name."""
