"""What the operator wants installed and fetched around the start of ComfyUI."""
