"""Command line, profiler, benchmarks, conversion and comparison."""
