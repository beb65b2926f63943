"""Named workflows: what they ask for, and the graph that a request makes of them.

files/      the folder: manifests, graphs, mistakes with their places, the version in service
sampling/   what a graph tells its samplers; presets write it, recipes read it
loras/      LoRAs put into a graph
python/     workflows in Python, in a process of their own
catalog     the folder as it is on the disk now
build       values, a preset and LoRAs make the graph that runs
"""
