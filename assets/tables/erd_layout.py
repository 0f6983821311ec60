"""Where the boxes and lines of an entity-relationship diagram go: a layered layout, the same for the same project.

Geometry only: nodes with sizes and edges between ports go in, coordinates come out; drawing is `assets.tables.erd`. The method is
that of Sugiyama, Tagawa and Toda (1981): break cycles, put parents into layers left of their children, let long edges pass
through placeholders in the layers between, order every layer by the barycentre of its neighbours, then assign coordinates. Lines
run at right angles, each vertical piece in a lane of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

GAP_Y = 28.0
LANE = 12.0
CHANNEL_MARGIN = 34.0
"""Free space beside a box, in which the marks of the line ends lie."""
TALLEST = 1700.0
"""Boxes without relationships are set in columns of at most this height."""
_SWEEPS = 12


@dataclass
class Node:
    """A box: width and height in, x and y of its upper left corner out."""

    width: float
    height: float
    x: float = 0.0
    y: float = 0.0
    layer: int = 0
    placeholder: bool = False


@dataclass
class Edge:
    """A line from a port of the parent box to a port of the child box; ports are heights below the box's upper edge.

    Ports of the same box with equal row numbers may be exchanged. `points` come out, from the parent's border to the child's.
    """

    parent: int
    child: int
    parent_port: float
    child_port: float
    parent_row: int = 0
    child_row: int = 0
    points: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class _Segment:
    """A piece of an edge between two neighbouring layers, left node to right node."""

    left: int
    right: int
    left_port: float
    right_port: float
    lane: float = 0.0


def arrange(nodes: list[Node], edges: Sequence[Edge]) -> tuple[float, float]:
    """Place `nodes` and route `edges`; returns the width and height of the whole.

    Done twice: where the lines go is known after the first time, and ports close to each other are then put into the order in
    which their lines do not cross.
    """
    _arrange(nodes, edges)
    _untangle(edges)
    return _arrange(nodes, edges)


def _untangle(edges: Sequence[Edge]) -> None:
    """Exchange the ports of the lines that meet in one row of a box so that higher ports lead higher up."""
    meeting: dict[tuple[int, bool, int], list[tuple[float, int, bool]]] = {}
    for at, edge in enumerate(edges):
        for is_parent, node in ((True, edge.parent), (False, edge.child)):
            points = edge.points if is_parent else edge.points[::-1]
            leaves_right = points[1][0] > points[0][0]
            row = edge.parent_row if is_parent else edge.child_row
            goal = points[2][1] if len(points) > 2 else points[-1][1]
            meeting.setdefault((node, leaves_right, row), []).append((goal, at, is_parent))
    for ends in meeting.values():
        ports = sorted(edges[at].parent_port if is_parent else edges[at].child_port for _, at, is_parent in ends)
        for port, (_, at, is_parent) in zip(ports, sorted(ends), strict=True):
            if is_parent:
                edges[at].parent_port = port
            else:
                edges[at].child_port = port


def _arrange(nodes: list[Node], edges: Sequence[Edge]) -> tuple[float, float]:
    for node in nodes:
        node.x, node.y, node.layer = 0.0, 0.0, 0
    linked = {end for edge in edges for end in (edge.parent, edge.child)}
    flow = [edge for edge in edges if edge.parent != edge.child]
    _assign_layers(nodes, flow, linked)
    all_nodes = list(nodes)
    chains = [_chain(all_nodes, edge) for edge in flow]
    segments = [segment for chain in chains for segment in chain]
    layers = _ordered_layers(all_nodes, segments, linked)
    width, height = _place(all_nodes, layers, segments, {edge.parent for edge in edges if edge.parent == edge.child})
    for edge, chain in zip(flow, chains, strict=True):
        edge.points = _points(all_nodes, chain)
        if nodes[edge.parent].layer > nodes[edge.child].layer:
            edge.points.reverse()
    loops: dict[int, int] = {}
    for edge in edges:
        if edge.parent == edge.child:
            loops[edge.parent] = loops.get(edge.parent, 0) + 1
            edge.points = _loop(nodes[edge.parent], edge, loops[edge.parent])
    return _place_unlinked(nodes, linked, width, height)


def _assign_layers(nodes: list[Node], edges: Sequence[Edge], linked: set[int]) -> None:
    """Longest path from the left over the edges that close no cycle."""
    children: dict[int, list[int]] = {node: [] for node in linked}
    incoming = dict.fromkeys(linked, 0)
    for edge in edges:
        children[edge.parent].append(edge.child)
        incoming[edge.child] += 1
    state: dict[int, int] = {}
    order: list[int] = []
    back: set[tuple[int, int]] = set()
    for root in sorted(linked, key=lambda node: (incoming[node], node)):
        stack = [(root, iter(sorted(children[root])))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            node, rest = stack[-1]
            for child in rest:
                if state.get(child) == 1:
                    back.add((node, child))
                elif child not in state:
                    state[child] = 1
                    stack.append((child, iter(sorted(children[child]))))
                    break
            else:
                state[node] = 2
                order.append(node)
                stack.pop()
    for node in reversed(order):
        for child in children[node]:
            if (node, child) not in back:
                nodes[child].layer = max(nodes[child].layer, nodes[node].layer + 1)
    # A parent without parents moves beside its nearest child.
    for node in sorted(linked):
        ahead = [nodes[child].layer for child in children[node] if (node, child) not in back]
        if ahead and not any(edge.child == node for edge in edges):
            nodes[node].layer = max(nodes[node].layer, min(ahead) - 1)


def _chain(nodes: list[Node], edge: Edge) -> list[_Segment]:
    """The edge as pieces between neighbouring layers, left to right, through new placeholders."""
    ends = [(edge.parent, edge.parent_port), (edge.child, edge.child_port)]
    (left, left_port), (right, right_port) = sorted(ends, key=lambda end: nodes[end[0]].layer)
    chain = []
    for layer in range(nodes[left].layer + 1, nodes[right].layer):
        nodes.append(Node(0.0, 2.0, layer=layer, placeholder=True))
        chain.append(_Segment(left, len(nodes) - 1, left_port, 1.0))
        left, left_port = len(nodes) - 1, 1.0
    chain.append(_Segment(left, right, left_port, right_port))
    return chain


def _ordered_layers(nodes: list[Node], segments: Sequence[_Segment], linked: set[int]) -> list[list[int]]:
    members = sorted(linked) + [index for index, node in enumerate(nodes) if node.placeholder]
    layers: list[list[int]] = [[] for _ in range(max((nodes[index].layer for index in members), default=-1) + 1)]
    for index in members:
        layers[nodes[index].layer].append(index)
    before: dict[int, list[tuple[int, float]]] = {index: [] for index in members}
    after: dict[int, list[tuple[int, float]]] = {index: [] for index in members}
    for segment in segments:
        before[segment.right].append((segment.left, segment.left_port))
        after[segment.left].append((segment.right, segment.right_port))
    best = [list(layer) for layer in layers]
    fewest = _crossings(layers, segments)
    for sweep in range(_SWEEPS):
        forwards = sweep % 2 == 0
        neighbours = before if forwards else after
        for layer in layers if forwards else reversed(layers):
            _sort_by_barycentre(layer, layers, neighbours, nodes)
        crossings = _crossings(layers, segments)
        if crossings < fewest:
            fewest, best = crossings, [list(layer) for layer in layers]
    return best


def _sort_by_barycentre(
    layer: list[int], layers: list[list[int]], neighbours: dict[int, list[tuple[int, float]]], nodes: list[Node]
) -> None:
    place = {index: at for other in layers for at, index in enumerate(other)}
    present = {index: at for at, index in enumerate(layer)}

    def centre(index: int) -> float:
        there = neighbours[index]
        if not there:
            return float(present[index])
        return sum(place[other] + port / (nodes[other].height + 1) for other, port in there) / len(there)

    layer.sort(key=lambda index: (centre(index), present[index]))


def _crossings(layers: list[list[int]], segments: Sequence[_Segment]) -> int:
    place = {index: at for layer in layers for at, index in enumerate(layer)}
    layer_of = {index: number for number, layer in enumerate(layers) for index in layer}
    count = 0
    for number in range(len(layers) - 1):
        ends = sorted(
            ((place[s.left], s.left_port), (place[s.right], s.right_port)) for s in segments if layer_of[s.left] == number
        )
        rights = [right for _, right in ends]
        count += sum(
            rights[i] > rights[j] and ends[i][0] < ends[j][0] for i in range(len(rights)) for j in range(i + 1, len(rights))
        )
    return count


def _place(nodes: list[Node], layers: list[list[int]], segments: Sequence[_Segment], looped: set[int]) -> tuple[float, float]:
    for layer in layers:
        y = 0.0
        for index in layer:
            nodes[index].y = y
            y += nodes[index].height + (GAP_Y / 2 if nodes[index].placeholder else GAP_Y)
    for forwards in (True, False, True, False, True):
        for layer in layers if forwards else reversed(layers):
            _straighten(nodes, layer, segments, forwards)
    top = min((nodes[index].y for layer in layers for index in layer), default=0.0)
    for layer in layers:
        for index in layer:
            nodes[index].y -= top
    x = 0.0
    for number, layer in enumerate(layers):
        widest = max((nodes[index].width for index in layer), default=0.0)
        for index in layer:
            nodes[index].x = x
        own = [segment for segment in segments if nodes[segment.left].layer == number]
        loops = LANE * 2 * any(index in looped for index in layer)
        x += widest + CHANNEL_MARGIN + loops
        x += _assign_lanes(nodes, own, x) + CHANNEL_MARGIN
        for index in layer:
            if nodes[index].placeholder:
                nodes[index].width = widest
    return max(x - 2 * CHANNEL_MARGIN, 0.0), max((nodes[i].y + nodes[i].height for layer in layers for i in layer), default=0.0)


def _straighten(nodes: list[Node], layer: list[int], segments: Sequence[_Segment], forwards: bool) -> None:
    """Move the nodes of a layer, in their order, towards the heights at which their lines would be straight."""
    wishes: list[float] = []
    for index in layer:
        wanted = []
        for segment in segments:
            if forwards and segment.right == index:
                wanted.append(nodes[segment.left].y + segment.left_port - segment.right_port)
            elif not forwards and segment.left == index:
                wanted.append(nodes[segment.right].y + segment.right_port - segment.left_port)
        wishes.append(sum(wanted) / len(wanted) if wanted else nodes[index].y)
    # Pool adjacent nodes that would overlap into blocks that move as one (isotonic regression).
    blocks: list[list[float]] = []
    offset = 0.0
    offsets = []
    for index, wish in zip(layer, wishes, strict=True):
        offsets.append(offset)
        blocks.append([wish - offset, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, weight = blocks.pop()
            before, count = blocks.pop()
            blocks.append([(mean * weight + before * count) / (weight + count), weight + count])
        offset += nodes[index].height + (GAP_Y / 2 if nodes[index].placeholder else GAP_Y)
    starts = [start for start, count in blocks for _ in range(int(count))]
    for index, start, off in zip(layer, starts, offsets, strict=True):
        nodes[index].y = start + off


def _assign_lanes(nodes: list[Node], segments: list[_Segment], x: float) -> float:
    """Give every bent piece a lane right of `x`; returns the width of all lanes."""

    def ends(segment: _Segment) -> tuple[float, float]:
        return nodes[segment.left].y + segment.left_port, nodes[segment.right].y + segment.right_port

    lanes: list[list[tuple[float, float]]] = []
    # Lines that go up take their lanes from the left in the order of their start, lines that go down from the right.
    down = sorted((s for s in segments if ends(s)[0] < ends(s)[1] - 0.5), key=lambda s: (-ends(s)[0], ends(s)[1]))
    up = sorted((s for s in segments if ends(s)[0] > ends(s)[1] + 0.5), key=lambda s: (ends(s)[0], ends(s)[1]))
    for segment in [*down, *up]:
        low, high = sorted(ends(segment))
        for number, taken in enumerate(lanes):
            if all(high + 8 < start or low - 8 > end for start, end in taken):
                taken.append((low, high))
                segment.lane = x + number * LANE
                break
        else:
            lanes.append([(low, high)])
            segment.lane = x + (len(lanes) - 1) * LANE
    for segment in segments:
        segment.lane = segment.lane or x
    return max(len(lanes) - 1, 0) * LANE


def _points(nodes: list[Node], chain: Sequence[_Segment]) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for segment in chain:
        left, right = nodes[segment.left], nodes[segment.right]
        y_left, y_right = left.y + segment.left_port, right.y + segment.right_port
        if abs(y_left - y_right) <= 0.5:
            y_right = y_left
        points += [(left.x + left.width, y_left), (segment.lane, y_left), (segment.lane, y_right), (right.x, y_right)]
    return _simplified(points)


def _simplified(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The line without doubled points and points in the middle of a straight piece."""
    kept: list[tuple[float, float]] = []
    for point in points:
        if kept and point == kept[-1]:
            continue
        if len(kept) > 1 and (kept[-2][0] == kept[-1][0] == point[0] or kept[-2][1] == kept[-1][1] == point[1]):
            kept[-1] = point
        else:
            kept.append(point)
    return kept


def _loop(node: Node, edge: Edge, number: int) -> list[tuple[float, float]]:
    right = node.x + node.width
    out = right + CHANNEL_MARGIN - 8 + LANE * number
    low, high = node.y + edge.parent_port, node.y + edge.child_port
    if abs(low - high) < 1:
        high = low + 10
    return [(right, low), (out, low), (out, high), (right, high)]


def _place_unlinked(nodes: list[Node], linked: set[int], width: float, height: float) -> tuple[float, float]:
    """Set the boxes without relationships in columns right of the rest."""
    alone = [index for index in range(len(nodes)) if index not in linked]
    if not alone:
        return width + (CHANNEL_MARGIN + LANE if linked else 0), height
    area = sum((nodes[i].height + GAP_Y) * (nodes[i].width + GAP_Y) for i in alone)
    tallest = min(max(height, area**0.5 * 0.8, max(nodes[i].height for i in alone)), max(TALLEST, height))
    x = width + 2 * CHANNEL_MARGIN + LANE if linked else 0.0
    y = column = 0.0
    bottom = height
    for index in alone:
        node = nodes[index]
        if y and y + node.height > tallest:
            x, y, column = x + column + GAP_Y, 0.0, 0.0
        node.x, node.y = x, y
        column = max(column, node.width)
        y += node.height + GAP_Y
        bottom = max(bottom, node.y + node.height)
    return x + column, bottom
