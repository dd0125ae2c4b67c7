"""What others use, for benchmarks: programs, and how they are had."""
