"""The format of the canvas: how it is read, and what the official frontend makes of it.

definitions     node classes as `/object_info` defines them
shapes          node classes as the canvas shows them: their slots and widgets
document        the file, taken apart into sheets of nodes and links
values          which saved value belongs to which widget, and what it makes of it
nodes           a node with its slots and the values of its widgets
frames          a subgraph as often as it is used
promotion       widgets that a subgraph shows of its inner nodes
group_shapes    group nodes of older files: their slots, widgets, and what these stand for
groups          group nodes, replaced by the nodes within them
levels          the sheets of a file with their nodes
resolution      where a link really begins
primitives      nodes that write their value into the widgets of others
everywhere      links without a wire that a custom node notes in the file
wireless        links without a wire: SetNode and GetNode
judging         what there is to say of a node before it is sent
sending         a node as it is sent
budget          how much work a file may make
problems        what cannot be known, and what is worth a warning
text            what is replaced in texts: dates, values of other nodes
choices         what a text says that says {one|other}
"""
