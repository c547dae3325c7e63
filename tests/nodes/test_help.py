"""The help pages and the translations, held against the schemas: nothing missing, nothing stale.

ILVR_WRITE_LOCALE=1 writes locales/en/nodeDefs.json anew from the schemas; translate what changed.
"""

import json
import os
import re
from pathlib import Path

import pytest

from nodes import NODE_CLASS_MAPPINGS

PACK = Path(__file__).parents[2]
LANGUAGES = ("en", "zh")
NODES = {
    name: cls for name, cls in NODE_CLASS_MAPPINGS.items() if getattr(cls, "CATEGORY", "") == "ILVR"
}
ADVICE = {"en": r" (Sensible|Connect): [^|]+\.", "zh": r"。(建议|连接)\uff1a[^|]+。"}
READ_AS_SYNTAX = re.compile(r"[{}@|]")  # by the translator of the frontend


def english(cls):
    """What the schema itself says, as an entry of nodeDefs.json."""
    schema = cls.GET_SCHEMA()
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": {i.id: {"name": i.id, "tooltip": i.tooltip} for i in schema.inputs},
        "outputs": {str(n): output(o) for n, o in enumerate(schema.outputs)},
    }


def output(item):
    named = {"name": item.display_name or str(item.io_type)}
    return {**named, "tooltip": item.tooltip} if item.tooltip else named


def locale(language):
    return json.loads((PACK / "locales" / language / "nodeDefs.json").read_text("utf-8"))


def page(name, language):
    return (PACK / "web/docs" / name / f"{language}.md").read_text("utf-8")


def tables(text):
    """The rows of each table of a page, without its head."""
    found = re.findall(r"(?:^\|.*\n)+", text, re.M)
    return [table.splitlines()[2:] for table in found]


def quoted(rows):
    """What stands first in each row, in backticks."""
    return [re.match(r"\| `([^`]+)`", row)[1] for row in rows]


def flat(value, path=""):
    """{where: text} of nested dictionaries, such as LowPassFilter.inputs.factor.tooltip."""
    if not isinstance(value, dict):
        return {path.strip("."): value}
    return {k: v for key in value for k, v in flat(value[key], f"{path}.{key}").items()}


def sentences_of_the_code():
    files = [*PACK.glob("nodes/**/*.py"), *PACK.glob("ilvr/**/*.py")]
    code = "\n".join(file.read_text("utf-8") for file in files)
    return re.sub(r'"\s*f?"', "", code)  # a sentence is split over lines


@pytest.fixture(scope="module")
def code():
    return sentences_of_the_code()


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_is_a_page_for_every_node_and_no_other(language):
    pages = {file.parent.name for file in PACK.glob(f"web/docs/*/{language}.md")}
    assert pages == set(NODES)
    assert {file.name for file in PACK.glob("web/docs/*")} == set(NODES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NODES)
def test_a_page_names_what_the_node_has(name, language):
    told, text = locale(language)[name], page(name, language)
    inputs, outputs = tables(text)
    assert text.startswith(f"# {told['display_name']}\n")
    assert quoted(inputs) == list(english(NODES[name])["inputs"])
    assert quoted(outputs) == [o["name"] for o in english(NODES[name])["outputs"].values()]
    for row, item in zip(inputs + outputs, [*told["inputs"].values(), *told["outputs"].values()]):
        first = row.split("|")[1]
        assert item["name"] in first, f"{row} lacks its name on the node, {item['name']}"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NODES)
def test_a_table_fits_the_narrow_help_panel(name, language):
    """A third column would be cut off there: what to give an input ends its second."""
    text = page(name, language)
    assert {line.count("|") for line in re.findall(r"^\|.*", text, re.M)} == {3}
    for row in tables(text)[0]:
        assert re.search(ADVICE[language] + r" \|$", row), f"{row} does not end with what to give"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NODES)
def test_a_page_shows_a_picture_of_the_node(name, language):
    """The frontend looks for it from the folder of all pages, not from the page's own."""
    (shown,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page(name, language))
    picture = PACK / "web/docs" / shown
    assert shown.startswith(f"{name}/")
    assert 0 < picture.stat().st_size < 60_000


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NODES)
def test_a_page_names_nodes_and_quotes_sentences_that_exist(name, language, code):
    text = page(name, language)
    named = re.findall(r"`([A-Z][A-Za-z]*[a-z][A-Z][A-Za-z]*)`", text)
    assert set(named) <= set(NODE_CLASS_MAPPINGS)
    for sentence in re.findall(r"^- \*([^*]+)\*", text, re.M):
        assert sentence in code, f"no node says {sentence!r}"


def test_english_is_what_the_schemas_say():
    says = {name: english(cls) for name, cls in NODES.items()}
    if "ILVR_WRITE_LOCALE" in os.environ:
        file = PACK / "locales/en/nodeDefs.json"
        file.write_text(json.dumps(says, indent=2) + "\n", "utf-8")
    assert flat(locale("en")) == flat(says)


def test_chinese_translates_all_that_the_schemas_say():
    says = flat({name: english(cls) for name, cls in NODES.items()})
    told = flat(locale("zh"))
    assert sorted(told) == sorted(says)
    other = {text for text in told.values() if not re.search("[\u4e00-\u9fff]", text)}
    assert other <= {"VAE", "Latent", "Sigmas"}, "not translated"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_holds_what_the_frontend_reads_as_syntax(language):
    for where, text in flat(locale(language)).items():
        assert not READ_AS_SYNTAX.search(text), f"{where} would be cut or not shown: {text}"
