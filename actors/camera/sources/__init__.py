"""What a camera takes its pictures from: one module for each kind."""
