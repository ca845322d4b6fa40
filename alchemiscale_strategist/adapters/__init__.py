"""Adapters: one module or folder a technology; each fulfils Protocols of :mod:`alchemiscale_strategist.ports`."""
