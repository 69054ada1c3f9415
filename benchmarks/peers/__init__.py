"""Other people's code, each package behind the signature that the benchmarks and the tests call it by."""
