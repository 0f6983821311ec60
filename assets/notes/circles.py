"""Circles in a graph of names: where an order turns back on itself. Pure, light: standard library only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """One shortest circle through the first node (by name) of every strongly connected part with more than one node.

    `graph` maps a node to those its edges lead to; edges to itself are left out. Linear in the number of edges, apart from
    sorting; the answer does not depend on the order in which edges are given.
    """
    edges = {node: sorted(set(targets) - {node}) for node, targets in sorted(graph.items())}
    return [_around(edges, part) for part in sorted(_parts(edges)) if len(part) > 1]


def _parts(edges: Mapping[str, list[str]]) -> list[list[str]]:
    """Strongly connected parts, each sorted (Tarjan's algorithm, without recursion: chains of notes may be long)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    waiting: set[str] = set()
    parts = []
    for start in edges:
        if start in number:
            continue
        work = [(start, iter(edges[start]))]
        number[start] = lowest[start] = len(number)
        stack.append(start)
        waiting.add(start)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in number:
                    number[target] = lowest[target] = len(number)
                    stack.append(target)
                    waiting.add(target)
                    work.append((target, iter(edges.get(target, ()))))
                    break
                if target in waiting:
                    lowest[node] = min(lowest[node], number[target])
            else:
                work.pop()
                if work:
                    above = work[-1][0]
                    lowest[above] = min(lowest[above], lowest[node])
                if lowest[node] == number[node]:
                    part: list[str] = []
                    while not part or part[-1] != node:
                        part.append(stack.pop())
                        waiting.discard(part[-1])
                    parts.append(sorted(part))
    return parts


def _around(edges: Mapping[str, list[str]], part: list[str]) -> list[str]:
    """A shortest way within `part` from its first node back to it, without the node at the end."""
    inside, first = set(part), part[0]
    came: dict[str, str] = {}
    queue = deque([first])
    while queue:
        node = queue.popleft()
        for target in edges.get(node, ()):
            if target == first:
                way = [node]
                while way[-1] != first:
                    way.append(came[way[-1]])
                return way[::-1]
            if target in inside and target not in came:
                came[target] = node
                queue.append(target)
    raise AssertionError("every node of a strongly connected part is reached from every other")
