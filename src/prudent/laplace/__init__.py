"""Laplace approximation: how sure the weights of a trained network are, and what that means for its answers."""
