"""Weights on disk: what a graph needs, the hashed LRU cache, and what ComfyUI sees of it."""
