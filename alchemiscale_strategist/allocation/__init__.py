"""Numerics on networks, purely: what the results say of the nodes, and how precisely."""
