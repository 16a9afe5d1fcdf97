"""Candidates of a frame: made, judged, ranked, picked and kept (method, steps 5 and 6)."""
