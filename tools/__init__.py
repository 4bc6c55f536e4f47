"""Command line, profiler, benchmarks, comparison: what people use sardonyx with."""
