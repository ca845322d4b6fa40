"""Simulated campaigns: the real reconciler and store, with compute that is drawn at random in virtual time."""
