"""A sheet as often as it is used: a subgraph once for each node that stands for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.workflows.canvas.document import Document, Link
from gateway.workflows.canvas.nodes import Node

#: More than any workflow has, and what a few subgraphs within each other amount to easily.
MOST_NODES = 50_000
#: Slots and widgets of all of them.
MOST_SLOTS = 1_000_000
DEEPEST = 200


class TooLarge(Exception):
    """A workflow amounts to more than can be sent; the argument says of what."""


class Endless(Exception):
    """A subgraph contains itself; the argument is the node that stands for it within."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.id)
        self.node = node


@dataclass(slots=True)
class Level:
    """A sheet whose nodes are known."""

    id: str
    nodes: Mapping[str, Node]
    links: Mapping[str, Link]
    #: Slot -> the link that ends there, of a subgraph's outputs.
    ends: Mapping[int, Link] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Frame:
    """One use of a level; `node` stands for it in the frame around."""

    level: Level
    around: Frame | None = None
    node: Node | None = None
    prefix: str = ""
    inner: dict[str, Frame] = field(default_factory=dict)

    def name(self, node: Node) -> str:
        """Return the id of a node in the prompt: `12:5` is node 5 in the subgraph of node 12."""
        return f"{self.prefix}{node.id}"


def check(document: Document) -> None:
    """Raise TooLarge when a file is that before its subgraphs are looked into."""
    slots = {name: len(sheet.inputs) for name, sheet in document.subgraphs.items()}
    found = [
        slots.get(node.type, 0)
        for sheet in (document.root, *document.subgraphs.values())
        for node in sheet.nodes.values()
    ]
    # Inputs of nodes that stand for subgraphs take more room than others.
    _check(len(found), sum(found) * 4)


def _check(nodes: int, slots: int, depth: int = 0) -> None:
    if nodes > MOST_NODES:
        raise TooLarge(f"more than {MOST_NODES} nodes")
    if slots > MOST_SLOTS:
        raise TooLarge(f"more than {MOST_SLOTS} inputs")
    if depth > DEEPEST:
        raise TooLarge(f"subgraphs more than {DEEPEST} deep in each other")


def flattened(levels: Mapping[str, Level]) -> list[tuple[Frame, Node]]:
    """Return every node that may run, in the order of the file; raises TooLarge, Endless."""
    root = Frame(levels[""])
    found: list[tuple[Frame, Node]] = []
    count = slots = 0
    # A stack of our own: files may nest deeper than Python calls itself.
    waiting: list[tuple[Frame, Iterator[Node], frozenset[str]]] = [
        (root, iter(root.level.nodes.values()), frozenset())
    ]
    while waiting:
        frame, nodes, around = waiting[-1]
        node = next(nodes, None)
        if node is None:
            waiting.pop()
            continue
        count += 1
        slots += len(node.slots) + len(node.widgets)
        _check(count, slots, len(waiting))
        if node.sheet is None:
            found.append((frame, node))
            continue
        if node.sheet.id in around:
            raise Endless(node)
        level = levels[node.sheet.id]
        inner = Frame(level, frame, node, f"{frame.name(node)}:")
        frame.inner[node.id] = inner
        waiting.append((inner, iter(level.nodes.values()), around | {level.id}))
    return found
