"""Products, convolutions and attention on tensor cores, and float32 ones by multiply-adds."""
