"""Where the dots and groups of a graph's picture go: a layout that is the same for the same graph, on every machine.

Geometry only; drawing is `assets.notes.graph_picture`. Only additions, multiplications, divisions and square roots are used,
which every machine rounds alike, and no chance. Small graphs are laid out by forces as Fruchterman and Reingold (1991) do it;
large ones are first divided into groups by moving notes to the group they have most links with, as Blondel et al. (2008) do it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

Point = tuple[float, float]

_TURN = (-0.7373688780783197, 0.6754902942615238)
"""The golden angle as a rotation: (cosine, sine)."""
_PULL, _GRAVITY = 0.45, 0.16
_PASSES = 12
_LEVELS = 4


def sunflower(count: int, spread: float = 1.0) -> list[Point]:
    """`count` points around the origin, evenly and without rows, the first in the middle; neighbours lie about `spread` apart."""
    points, x, y = [], 1.0, 0.0
    for at in range(count):
        radius = spread * sqrt(at) * 0.95
        points.append((x * radius, y * radius))
        x, y = x * _TURN[0] - y * _TURN[1], x * _TURN[1] + y * _TURN[0]
        length = sqrt(x * x + y * y)
        x, y = x / length, y / length
    return points


def spread_out(
    sizes: Sequence[float], ties: Mapping[tuple[int, int], float], *, length: float, steps: int, aspect: float = 1.6
) -> list[Point]:
    """Places for discs of the given radii: tied ones near each other, none on top of another, the whole about `aspect` times as
    wide as high. `ties` hold the strength of each pair (lower number first), `length` is that of a tie at rest."""
    count = len(sizes)
    at = [[x * aspect, y] for x, y in sunflower(count, length)]
    pairs = sorted((one, other, strength) for (one, other), strength in ties.items())
    heat = length * max(1.0, sqrt(count) / 2)
    for step in range(steps):
        moves = _pushes(at, sizes, length)
        for one, other, strength in pairs:
            dx, dy = at[one][0] - at[other][0], at[one][1] - at[other][1]
            distance = sqrt(dx * dx + dy * dy) + 0.01
            pull = strength * max(0.0, distance - sizes[one] - sizes[other]) / length * _PULL
            for node, sign in ((one, -1.0), (other, 1.0)):
                moves[node][0] += sign * dx * pull
                moves[node][1] += sign * dy * pull
        limit = heat * (1 - step / steps) ** 2 + 0.2
        for place, move in zip(at, moves, strict=True):
            # Everything is drawn to the middle a little, upwards and downwards more than sideways.
            move[0] -= place[0] * _GRAVITY
            move[1] -= place[1] * _GRAVITY * aspect * aspect
            size = sqrt(move[0] * move[0] + move[1] * move[1]) + 1e-9
            scale = min(size, limit) / size
            place[0] += move[0] * scale
            place[1] += move[1] * scale
    _part(at, sizes, length * 0.2)
    return [(x, y) for x, y in at]


def _pushes(at: list[list[float]], sizes: Sequence[float], length: float) -> list[list[float]]:
    moves = [[0.0, 0.0] for _ in at]
    for one in range(len(at)):
        x, y = at[one]
        for other in range(one):
            dx, dy = x - at[other][0], y - at[other][1]
            distance = sqrt(dx * dx + dy * dy) + 0.01
            gap = max(distance - sizes[one] - sizes[other], length * 0.1)
            push = length * length / (gap * distance)
            moves[one][0] += dx * push
            moves[one][1] += dy * push
            moves[other][0] -= dx * push
            moves[other][1] -= dy * push
    return moves


def _part(at: list[list[float]], sizes: Sequence[float], gap: float) -> None:
    """Move discs that lie on one another apart."""
    for _ in range(60):
        moved = False
        for one in range(len(at)):
            for other in range(one):
                dx, dy = at[one][0] - at[other][0], at[one][1] - at[other][1]
                distance = sqrt(dx * dx + dy * dy) + 0.01
                lap = sizes[one] + sizes[other] + gap - distance
                if lap > 0.1:
                    share = lap / distance / 2
                    at[one][0] += dx * share
                    at[one][1] += dy * share
                    at[other][0] -= dx * share
                    at[other][1] -= dy * share
                    moved = True
        if not moved:
            return


def groups(count: int, links: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The nodes 0 to `count` - 1 in groups that have more links within than between them, the largest first; nodes without links
    are in no group."""
    neighbours: list[dict[int, float]] = [{} for _ in range(count)]
    for one, other in links:
        if one != other:
            neighbours[one][other] = neighbours[one].get(other, 0.0) + 1.0
            neighbours[other][one] = neighbours[other].get(one, 0.0) + 1.0
    members = [[node] for node in range(count) if neighbours[node]]
    places = {group[0]: at for at, group in enumerate(members)}
    graph = [{places[other]: weight for other, weight in neighbours[group[0]].items()} for group in members]
    for _ in range(_LEVELS):
        chosen = _move(graph)
        if len(set(chosen)) == len(graph):
            break
        graph, members = _merge(graph, members, chosen)
    return sorted((sorted(group) for group in members), key=lambda group: (-len(group), group[0]))


def _move(graph: Sequence[Mapping[int, float]]) -> list[int]:
    """The group of each node, after moving nodes one by one to the group that gains the most by it, as long as any does."""
    chosen = list(range(len(graph)))
    degrees = [sum(ends.values()) for ends in graph]
    totals = list(degrees)
    whole = sum(degrees) or 1.0
    for _ in range(_PASSES):
        moved = 0
        for node, ends in enumerate(graph):
            here, degree = chosen[node], degrees[node]
            weights: dict[int, float] = {here: 0.0}
            for other, weight in ends.items():
                if other != node:
                    weights[chosen[other]] = weights.get(chosen[other], 0.0) + weight
            totals[here] -= degree
            share = degree / whole
            best, most = here, weights[here] - totals[here] * share
            for group, weight in weights.items():
                gain = weight - totals[group] * share
                if gain > most + 1e-9 or (gain > most - 1e-9 and group < best):
                    best, most = group, max(most, gain)
            totals[best] += degree
            if best != here:
                chosen[node] = best
                moved += 1
        if moved * 200 <= len(graph):
            break
    return chosen


def _merge(
    graph: Sequence[Mapping[int, float]], members: Sequence[list[int]], chosen: Sequence[int]
) -> tuple[list[dict[int, float]], list[list[int]]]:
    """The graph whose nodes are the chosen groups, and what each holds."""
    numbers = {group: number for number, group in enumerate(sorted(set(chosen)))}
    merged: list[dict[int, float]] = [{} for _ in numbers]
    held: list[list[int]] = [[] for _ in numbers]
    for node, ends in enumerate(graph):
        number = numbers[chosen[node]]
        held[number] += members[node]
        into = merged[number]
        for other, weight in ends.items():
            target = numbers[chosen[other]]
            into[target] = into.get(target, 0.0) + weight
    return merged, held
