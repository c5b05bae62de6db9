"""Tests of the redaction policy and the proof of S1 and S2."""
