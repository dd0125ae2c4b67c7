"""Ory Hydra, the program that Lumin's authorization server is: built, started, and asked what it does."""
