"""Named workflows: what they ask for, and the graph that a request makes of them."""
