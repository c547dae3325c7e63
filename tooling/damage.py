"""Damaged copies of files: of their bytes, of the records of a zip, of the values of JSON."""

import io
import json
import random
import re
import warnings
import zipfile
from copy import deepcopy

NUMBERS = [
    0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1,
]  # fmt: skip
WORDS = ["-1", "0", "1e999", "NaN", "null", "9" * 400, "4294967296", "1000000000", "[]", "{}", '""']
VALUES = [
    None, True, False, 0, 1, -1, 2, 3, 7, 1.5, -0.5, 1e-9, 1e300, 10**9, 2**64, float("nan"),
    float("inf"), "", "a", "linear", "cosine", "\x1b[31m", "\u202e", "../..", [], [0], [1, 1],
    ["a", "b"], [[]], [None], [0.5, 0.999], {}, {"a": 1},
]  # fmt: skip


def damaged(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A copy with one to a few faults; parts of `others` may get into it."""
    if content[:2] == b"PK" and rng.random() < 0.6:
        return _of_records(content, others, rng)
    if content[:1] in b"{[" and rng.random() < 0.7:
        return _of_values(content, rng)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        content = rng.choice(FAULTS)(content, others, rng)
    return content


def _flip(content, others, rng):
    at = rng.randrange(len(content) + 1)
    flipped = bytes(byte ^ (1 << rng.randrange(8)) for byte in content[at : at + 1])
    return content[:at] + flipped + content[at + 1 :]


def _overwrite(content, others, rng):
    """A number of 1 to 8 bytes at the ends of what a field may take; mostly near the start."""
    size, order = rng.choice([1, 2, 4, 8]), rng.choice(["little", "big"])
    number = rng.choice(NUMBERS) % 256**size
    at = rng.randrange(min(len(content), rng.choice([64, 1024, 1 << 30])) + 1)
    return content[:at] + number.to_bytes(size, order) + content[at + size :]


def _cut(content, others, rng):
    return content[: rng.randrange(len(content) + 1)]


def _without(content, others, rng):
    at, size = rng.randrange(len(content) + 1), rng.choice([1, 4, 64, 1000])
    return content[:at] + content[at + size :]


def _repeated(content, others, rng):
    at, size = rng.randrange(len(content) + 1), rng.choice([1, 4, 64, 1000])
    return content[:at] + content[at : at + size] * rng.choice([2, 3, 50]) + content[at + size :]


def _spliced(content, others, rng):
    other = rng.choice(others)
    at, start = rng.randrange(len(content) + 1), rng.randrange(len(other) + 1)
    part = other[start : start + rng.choice([8, 64, 1024, 1 << 20])]
    return content[:at] + part + content[at + rng.choice([0, len(part)]) :]


def _number_in_text(content, others, rng):
    found = list(re.finditer(rb"\d+", content))
    if not found:
        return content
    match = rng.choice(found)
    return content[: match.start()] + rng.choice(WORDS).encode() + content[match.end() :]


FAULTS = 2 * [_flip, _overwrite] + [_cut, _without, _repeated, _spliced, _number_in_text]


def _of_records(content, others, rng):
    """A zip in which one record is damaged, gone, doubled or packed; its sums are right again."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        records = [(record.filename, source.read(record)) for record in source.infolist()]
    at = rng.randrange(len(records))
    name, data = records[at]
    what = rng.choice(["damaged", "damaged", "damaged", "gone", "doubled", "renamed", "packed"])
    if what == "damaged":
        records[at] = name, rng.choice(FAULTS)(data, others, rng)
    elif what == "gone":
        del records[at]
    elif what == "doubled":
        records.append((name, data[::-1]))
    elif what == "renamed":
        records[at] = name + "x", data
    target = io.BytesIO()
    packed = zipfile.ZIP_DEFLATED if what == "packed" else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", packed) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, data in records:
            file.writestr(zipfile.ZipInfo(name), data, packed)
    return target.getvalue()


def _of_values(content, rng):
    """JSON in which some values are others, of any kind."""
    value = json.loads(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        place, key = _place(value, rng)
        what = rng.random()
        if what < 0.7:
            place[key] = deepcopy(rng.choice(VALUES))
        elif what < 0.8:
            del place[key]
        elif what < 0.9:
            place[key] = [place[key]] * rng.choice([0, 1, 2, 13, 1000])
        elif isinstance(place, dict):
            place[rng.choice(["x", "", "\x1b", "image_size", key * 50])] = deepcopy(
                rng.choice(VALUES)
            )
    text = json.dumps(value)
    if rng.random() < 0.05:
        text = "[" * 5000 + text + "]" * 5000
    return text.encode()


def _place(value, rng):
    """(a dict or list in it, one of its keys)."""
    holder = {"all": value}
    place, key = holder, "all"
    while isinstance(place[key], dict | list) and place[key]:
        if place is not holder and rng.random() < 0.3:
            break
        place = place[key]
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
    return place, key
