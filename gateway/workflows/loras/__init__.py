"""LoRAs put into a graph: which wires carry models, and where a loader goes."""
