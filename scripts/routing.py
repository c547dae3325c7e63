"""Ways for the wires of a canvas: level and upright pieces that run around the nodes."""

import heapq
from itertools import pairwise

# How far off a box wires run: on its sides, above it (below and above a group's title), below it.
BESIDE, ABOVE, BELOW = (16, 34), (8, 56), (16, 34)
BEND, CROSSING = 40, 70  # what they cost, in the canvas' pixels


def route(wires: list[tuple], boxes: list[tuple]) -> list[tuple]:
    """Points between the two ends of each wire, which leaves and arrives level, to the right.

    wires: (start, end), each a point (x, y). Those of one start share their way where they can.
    boxes: (left, top, right, bottom) of what no wire may run behind.
    """
    drawn, ways = [], [()] * len(wires)
    for i in sorted(range(len(wires)), key=lambda i: _length(*wires[i])):
        ways[i] = _way(*wires[i], boxes, drawn)
        path = [wires[i][0], *ways[i], wires[i][1]]
        drawn += [(wires[i][0], piece) for piece in pairwise(path)]
    return ways


def _length(a, b):
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _way(start, end, boxes, drawn):
    others = [piece for source, piece in drawn if source != start]
    straight = (start, end)
    if end[0] - start[0] > abs(end[1] - start[1]) / 2 and _free(straight, boxes, others):
        return ()
    return _simple(_cheapest(start, end, boxes, drawn, others))[1:-1]


def _free(piece, boxes, others):
    hidden = any(_behind(piece, box) for box in boxes)
    return not hidden and not any(_cross(piece, other) for other in others)


def _cheapest(start, end, boxes, drawn, others):
    """A way over the lanes around the boxes that costs little (A*)."""
    xs, ys = _lanes(start, end, boxes)
    own = [piece for source, piece in drawn if source == start]
    column, row = {x: i for i, x in enumerate(xs)}, {y: i for i, y in enumerate(ys)}
    first = (start, True)
    costs, before, waiting, done = {first: 0}, {}, [(0, first)], set()
    while waiting:
        _, state = heapq.heappop(waiting)
        cost = costs[state]
        (x, y), level = state
        if (x, y) == end and level:
            break
        if state in done:
            continue
        done.add(state)
        for point, flat in _neighbours(x, y, xs, ys, column, row):
            if {start, end} & {(x, y), point} and not (flat and point[0] > x):
                continue
            if not flat and x in (start[0], end[0]):  # along a node's edge
                continue
            piece = ((x, y), point)
            if any(_behind(piece, box) for box in boxes) or any(_over(piece, o) for o in others):
                continue
            shared = any(_over(piece, o) for o in own)
            more = _length(*piece) * (0.2 if shared else 1) + BEND * (flat != level)
            more += CROSSING * sum(_cross(piece, other) for other in others)
            after = (point, flat)
            if cost + more < costs.get(after, float("inf")):
                costs[after], before[after] = cost + more, state
                heapq.heappush(waiting, (cost + more + _length(point, end), after))
    else:
        raise ValueError(f"There is no way from {start} to {end}.")
    path = [state]
    while path[-1] in before:
        path.append(before[path[-1]])
    return [point for point, _ in reversed(path)]


def _lanes(start, end, boxes):
    """The x of upright lanes and the y of level ones: beside all boxes, and at both ends."""
    xs, ys = {start[0], end[0]}, {start[1], end[1]}
    for left, top, right, bottom in boxes:
        xs |= {side for off in BESIDE for side in (left - off, right + off)}
        ys |= {top - off for off in ABOVE} | {bottom + off for off in BELOW}
    return sorted(xs), sorted(ys)


def _neighbours(x, y, xs, ys, column, row):
    i, j = column[x], row[y]
    for k in (i - 1, i + 1):
        if 0 <= k < len(xs):
            yield (xs[k], y), True
    for k in (j - 1, j + 1):
        if 0 <= k < len(ys):
            yield (x, ys[k]), False


def _simple(path):
    """Without the points in the middle of a straight line."""
    kept = [
        b
        for a, b, c in zip(path, path[1:], path[2:])
        if not (a[0] == b[0] == c[0] or a[1] == b[1] == c[1])
    ]
    return (path[0], *kept, path[-1])


def _behind(piece, box):
    """Whether a piece comes into a box; its edges are free."""
    (a, b), (left, top, right, bottom) = piece, box
    if min(a[0], b[0]) >= right or max(a[0], b[0]) <= left:
        return False
    if min(a[1], b[1]) >= bottom or max(a[1], b[1]) <= top:
        return False
    if a[0] == b[0] or a[1] == b[1]:
        return True
    points = ((a[0] + (b[0] - a[0]) * s / 40, a[1] + (b[1] - a[1]) * s / 40) for s in range(41))
    return any(left < x < right and top < y < bottom for x, y in points)


def _over(one, other):
    """Whether two pieces lie on each other, or nearer than one can see."""
    for axis in (0, 1):
        flat = [p[0][axis] == p[1][axis] for p in (one, other)]
        if all(flat) and abs(one[0][axis] - other[0][axis]) < 8:
            a, b = (sorted(point[1 - axis] for point in piece) for piece in (one, other))
            if min(a[1], b[1]) - max(a[0], b[0]) > 0:
                return True
    return False


def _cross(one, other):
    (a, b), (c, d) = one, other

    def side(p, q, r):
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    across = side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
    return across or _touch(one, other)


def _touch(one, other):
    """Whether an end of one lies within the other."""
    return any(_within(point, other) for point in one) or any(_within(p, one) for p in other)


def _within(point, piece):
    (x, y), ((ax, ay), (bx, by)) = point, piece
    if ax == bx == x:
        return min(ay, by) < y < max(ay, by)
    return ay == by == y and min(ax, bx) < x < max(ax, bx)
