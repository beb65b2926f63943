"""A small engine that speaks ComfyUI's protocol without torch: it draws, it does not diffuse."""
