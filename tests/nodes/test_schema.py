"""What saved workflows rely on: ids, inputs, types, order, defaults, outputs of every node."""

import json
import os
from pathlib import Path

import pytest

from nodes import NODE_CLASS_MAPPINGS

SNAPSHOT = Path(__file__).with_name("schema.json")
KEPT = ("default", "min", "max", "forceInput")


def ours():
    return {
        name: cls
        for name, cls in NODE_CLASS_MAPPINGS.items()
        if getattr(cls, "CATEGORY", "") == "ILVR"
    }


def described(cls):
    info = cls.GET_NODE_INFO_V1()
    kinds = {
        kind: [[name, *_typed(*entry)] for name, entry in info["input"].get(kind, {}).items()]
        for kind in ("required", "optional")
    }
    return {**kinds, "outputs": [str(kind) for kind in info["output"]]}


def _typed(kind, options=None):
    options = options or {}
    choices = kind if isinstance(kind, list) else options.get("options")
    settings = {name: options[name] for name in KEPT if name in options}
    if choices:
        return [
            "COMBO",
            {**settings, "options": [c for c in choices if "." not in c or "-64" in c]},
        ]
    return [str(kind), settings]


def test_saved_workflows_keep_their_meaning():
    now = {name: described(cls) for name, cls in sorted(ours().items())}
    then = json.loads(SNAPSHOT.read_text())
    for name, node in then.items():
        check_takes_what_was_saved(name, node, now[name])
    if "ILVR_WRITE_SCHEMA" in os.environ:
        SNAPSHOT.write_text(json.dumps(now, indent=1) + "\n")
        then = now
    assert sorted(then) == sorted(now), "a node that saved workflows name is gone, or one is new"
    for name, node in then.items():
        assert now[name] == node, f"saved workflows with {name} would lose an input or change"


def check_takes_what_was_saved(name, then, now):
    """A workflow saved with `then` runs with `now`: no input is gone or of another type, none is
    newly required, and the values of widgets stand in the order that they were saved in."""
    inputs = {i[0]: i[1] for kind in ("required", "optional") for i in now[kind]}
    for kind in ("required", "optional"):
        for key, type_, *_ in then[kind]:
            assert inputs.get(key) == type_, f"{name}.{key}"
    known = {i[0] for i in [*then["required"], *then["optional"]]}
    assert {i[0] for i in now["required"]} <= {i[0] for i in then["required"]}, name
    assert now["outputs"][: len(then["outputs"])] == then["outputs"], name
    order = [i[0] for kind in ("required", "optional") for i in now[kind] if widget(i)]
    before = [i[0] for kind in ("required", "optional") for i in then[kind] if widget(i)]
    assert order[: len(before)] == before and not known & set(order[len(before) :]), name


def widget(entry):
    return entry[1] in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO") and not entry[2].get(
        "forceInput"
    )


@pytest.mark.parametrize("name", ["ApplyILVR", "ILVRSampler"])
def test_a_required_input_may_become_optional_and_no_other_way_round(name):
    now = {name: described(cls) for name, cls in ours().items()}[name]
    reference = now["optional"][0]
    assert reference[0] == "reference"
    then = {**now, "required": [*now["required"], reference], "optional": now["optional"][1:]}
    check_takes_what_was_saved(name, then, now)
    with pytest.raises(AssertionError):
        check_takes_what_was_saved(name, now, then)


def test_the_ids_of_the_brief_are_there():
    fixed = {"LowPassFilter", "NoisedReference", "ConditioningRange", "ILVRSampler"}
    assert fixed < set(ours())


def test_every_input_says_what_it_does_and_no_output_has_its_name():
    for name, cls in ours().items():
        schema = cls.GET_SCHEMA()
        for item in schema.inputs:
            assert item.tooltip and item.tooltip.endswith("."), f"{name}.{item.id} has no tooltip"
        assert schema.description
        assert not {i.id for i in schema.inputs} & {o.id for o in schema.outputs}
        if hasattr(schema, "search_aliases"):
            assert schema.search_aliases, name
