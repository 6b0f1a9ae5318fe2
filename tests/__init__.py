"""The tests; a package so that a node in a process of its own can be given parts from ``tests.support``."""
