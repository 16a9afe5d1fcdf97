"""What holds for all tests, and for the hosts and commands that they start."""

import os

# Some tests compare results bit by bit, and what several threads add up differs in its last bits.
# PyTorch reads this when it is imported, so it stands before every import of it.
os.environ["OMP_NUM_THREADS"] = "1"
