"""Faults on real processes: two organisations train a model together while something is killed, cut or filled."""
