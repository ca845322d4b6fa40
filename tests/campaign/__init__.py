"""The fault campaign: real services on one SQLite file, killed and stopped again and again while users edit.

``python -m tests.campaign --seconds 60 --seed 1`` runs it; its last line says what it did and what it found.
"""
