"""The method: makes frames between keyframes with any model of the contract."""
