"""What torch's reader of weights would do for a pickle, added up before it does it.

It runs no code, but it hashes keys, calls a few functions, and spells out in its messages what it
can't take. Where values are shared, each of that can take exponential time or memory.
"""

import contextlib
import math
import re
from collections.abc import Iterator
from pickletools import genops
from typing import IO, Any

DEPTH = 100  # of values within each other
WORD = 64  # bits of a key; Python's hashes of longer numbers are easily made the same
DAMAGE = (ValueError, TypeError, LookupError, AttributeError)
OURS = ("torch", "collections", "builtins", "__builtin__", "_codecs")  # of weights
SIZED = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_qtensor")  # third argument: shape


class TooMuch(Exception):
    """Of a pickle that asks for more than it may."""


class Called(list):
    """The result of a function: [function, arguments]."""


def check(file: IO[bytes], times: int, elements: int):
    """Reads a pickle from a file. Raises TooMuch if more values would be hashed, spelled out or
    handed to functions than `times` its bytes, or tensors of more than so many elements be made."""
    start, used, made = file.tell(), [], 0
    with contextlib.suppress(*DAMAGE):  # at which torch stops too
        for value in _used(file):
            used.append(value)
            if isinstance(value, Called):
                made += _elements(value)
    known: dict[int, tuple[int, int]] = {}
    values = sum(_measured(value, known, DEPTH)[0] for value in used)
    if made > elements or values > times * (file.tell() - start):
        raise TooMuch


def foreign(file: IO[bytes]) -> bool:
    """Whether a pickle names what is none of weights."""
    with contextlib.suppress(*DAMAGE):
        for operation, argument, _ in genops(file):
            if operation.name == "GLOBAL" and re.split("[. ]", str(argument))[0] not in OURS:
                return True
    return False


def _used(file) -> Iterator[Any]:
    """The keys, calls, states and names of storages in a pickle. Tuples and lists stand for what
    holds others, anything else for itself."""
    stack: list = []
    outer: list[list] = []
    memo: dict[Any, Any] = {}
    for operation, argument, _ in genops(file):
        match operation.name:
            case "PROTO" | "STOP":
                pass
            case "MARK":
                outer.append(stack)
                stack = []
            case "TUPLE":
                items, stack = stack, outer.pop()
                stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET":
                stack.append([])
            case "APPEND":
                item = stack.pop()
                stack[-1].append(item)
            case "APPENDS":
                items, stack = stack, outer.pop()
                stack[-1].extend(items)
            case "SETITEM":
                stack[-3].extend(stack[-2:])
                yield stack[-2]
                del stack[-2:]
            case "SETITEMS":
                items, stack = stack, outer.pop()
                stack[-1].extend(items)
                yield from items[::2]
            case "REDUCE" | "NEWOBJ":
                stack[-2:] = [Called(stack[-2:])]
                yield stack[-1]
            case "BUILD":
                stack[-2].append(stack[-1])
                yield stack.pop()
            case "BINPERSID":
                stack[-1] = [stack[-1]]
                yield stack[-1]
            case "GLOBAL":
                if str(argument).endswith("bytearray"):  # of any length
                    raise TooMuch
                stack.append(str(argument).replace(" ", "."))
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case _:
                stack.append(argument)


def _measured(value, known, left):
    """(how many values, how deep), each part measured once."""
    if not isinstance(value, list | tuple):
        if isinstance(value, int) and value.bit_length() > WORD:
            raise TooMuch
        return 1, 0
    if id(value) not in known:
        if left == 0:  # or within itself
            raise TooMuch
        parts = [_measured(part, known, left - 1) for part in value]
        size, depth = (sum(s for s, _ in parts), max((d for _, d in parts), default=0))
        known[id(value)] = size + 1, depth + 1
    if known[id(value)][1] > left:
        raise TooMuch
    return known[id(value)]


def _elements(call):
    """Of the tensor that a call makes. Raises TooMuch for a call that makes much of little."""
    function, arguments = call[:2]
    if not isinstance(arguments, tuple):  # of which torch would take each
        raise TooMuch
    if function == "torch._tensor._rebuild_from_type_v2":
        return _elements([arguments[0], arguments[2]])
    if function.startswith(SIZED):
        shape = arguments[2]
        return math.prod(shape[1][0] if isinstance(shape, Called) else shape)
    if function.startswith("torch._utils._rebuild_device_tensor"):  # a copy
        if len(arguments[0]) != 2 or not arguments[0][0].startswith(SIZED):
            raise TooMuch
        return _elements(arguments[0])
    if function == "_codecs.encode" and arguments[1:] != ("latin1",):  # as digits, again and again
        raise TooMuch
    taking = function.startswith(("torch._utils.", "torch.nn."))  # others take each of its numbers
    if not taking and any(isinstance(argument, Called) for argument in arguments):
        raise TooMuch
    return 0
