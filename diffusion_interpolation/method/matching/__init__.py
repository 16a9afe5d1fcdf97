"""What is where in two keyframes, and the pictures moved along it."""
