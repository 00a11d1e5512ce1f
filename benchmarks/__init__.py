"""What grus costs beside other libraries: ``python -m benchmarks`` from the root of the repository.

Every measurement first asserts the answer, then takes the time. docs/benchmarks.md says how, and why so.
"""
