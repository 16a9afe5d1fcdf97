"""What users read of the nodes in a real ComfyUI: tooltips, help pages, translations."""

from __future__ import annotations

import ast
import re
import urllib.error
import urllib.request
from functools import cache
from typing import Any

import pytest
from comfy_host import CHECKOUT, Server
from node_texts import FILE, LOCALES, PACK, inputs_of, our_nodes, outputs_of, read, texts_of

CATEGORY = "Diffusion Interpolation"
DOCS = CHECKOUT / "js" / "docs"
SECTIONS = {
    "en": ["Inputs", "Outputs", "How to choose", "Works with", "Errors", "Source"],
    "zh": ["输入", "输出", "如何选择", "可搭配", "报错", "出处"],
}
LANGUAGES = list(SECTIONS)
# the message format of the front end gives them a meaning
SPECIAL = set("{}@|")


@pytest.fixture(scope="module")
def nodes(server: Server) -> dict[str, dict[str, Any]]:
    return our_nodes(server)


def fetch(server: Server, path: str) -> tuple[str, bytes] | None:
    """Type and content of a file, or None where there is none."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(server.url + path, timeout=60) as answer:
            return answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as refusal:
        assert refusal.code == 404
        return None


def help_page(server: Server, node: str, language: str) -> str | None:
    """As the front end finds it: in the language, or else the page without one."""
    for name in (f"{node}/{language}", node):
        found = fetch(server, f"/extensions/{PACK}/docs/{name}.md")
        if found:
            # the front end takes HTML for an error
            assert "text/html" not in found[0]
            return found[1].decode()
    return None


def sections(page: str) -> dict[str, str]:
    """What is under each heading, and before the first one under ""."""
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def rows(section: str) -> list[list[str]]:
    """The rows of the table in a section."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def all_texts(tree: Any) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    return [text for branch in tree.values() for text in all_texts(branch)]


def shape(tree: Any) -> Any:
    """A tree without its texts."""
    return None if isinstance(tree, str) else {key: shape(part) for key, part in tree.items()}


@cache
def messages() -> list[tuple[int, re.Pattern[str]]]:
    """What our code says in errors: how much of it is fixed, and the whole text.

    Anything may stand where a value is put in.
    """
    folders = (CHECKOUT / "nodes", CHECKOUT / "diffusion_interpolation")
    trees = [ast.parse(file.read_text("utf-8")) for one in folders for file in one.rglob("*.py")]
    said = [part for tree in trees for node in ast.walk(tree) for part in said_by(node)]
    texts = [parts_of(node) for part in said for node in ast.walk(part)]
    patterns = (".+".join(map(re.escape, parts)) for parts in texts)
    fixed = (len("".join(parts)) for parts in texts)
    return [(n, re.compile(one, re.DOTALL)) for n, one in zip(fixed, patterns, strict=True) if n]


def said_by(node: ast.AST) -> list[ast.AST]:
    """Where a node of the syntax holds the text of an error: one is made, or a text is returned."""
    if isinstance(node, ast.Call):
        return node.args if re.search(r"(Error|ExecutionBlocker)$", ast.unparse(node.func)) else []
    if isinstance(node, ast.FunctionDef) and node.returns:
        told = re.fullmatch(r"str( \| None)?|list\[str\]", ast.unparse(node.returns))
        return [part for part in ast.walk(node) if told and isinstance(part, ast.Return)]
    return []


def is_said(text: str) -> bool:
    """Whether an error of ours reads so, by its words and not by its values alone."""
    return any(fixed > len(text) / 5 and whole.fullmatch(text) for fixed, whole in messages())


def parts_of(node: ast.AST) -> list[str]:
    """The fixed parts of a string, with or without values between them."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if not isinstance(node, ast.JoinedStr):
        return []
    parts = [""]
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts[-1] += part.value
        else:
            parts.append("")
    return parts


def errors_of(page: str, language: str) -> list[str]:
    """The messages that a page explains."""
    section = sections(page)[SECTIONS[language][4]]
    told = re.findall(r"^- `([^`]+)`<br>\S", section, re.MULTILINE)
    assert len(told) == section.count("\n- ") > 0
    return told


def test_every_node_has_a_page_and_every_page_a_node(nodes):
    assert len(nodes) == 20
    assert {file.stem for file in DOCS.glob("*.md")} == set(nodes)
    assert {file.parent.name for file in DOCS.glob("*/zh.md")} == set(nodes)


def test_every_node_and_input_is_explained_in_the_node_itself(nodes):
    for name, info in nodes.items():
        assert info["category"] == CATEGORY and info["description"] and info["display_name"]
        untold = [key for key, options in inputs_of(info).items() if not options.get("tooltip")]
        assert not untold, name
        # an older host names an output after its type where the schema gives no display name
        assert not set(info["output_name"]) & set(info["output"]), name


def test_a_page_is_found_in_every_language(server, nodes):
    for name in nodes:
        english = help_page(server, name, "en")
        assert english == (DOCS / f"{name}.md").read_text(encoding="utf-8")
        assert help_page(server, name, "fr") == english
        assert help_page(server, name, "zh") == (DOCS / name / "zh.md").read_text(encoding="utf-8")
    assert help_page(server, "NoSuchNode", "en") is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_begins_with_a_sentence_has_all_parts_and_ends_with_a_picture(
    server, nodes, language
):
    """Whoever opens it sees the node already."""
    for name in nodes:
        page = help_page(server, name, language)
        parts = sections(page)
        assert list(parts) == ["", *SECTIONS[language]], name
        shown = read(language)[name]["display_name"]
        assert re.match(r"\w", page), name
        assert page.endswith(f"\n\n![{shown}]({name}.png)\n"), name
        assert "arxiv.org/abs/2307.12560" in parts[SECTIONS[language][-1]], name


def test_the_pictures_of_pages_are_served(server, nodes):
    pictures = [file for file in DOCS.iterdir() if file.suffix not in ("", ".md")]
    assert {file.stem for file in pictures} == set(nodes)
    for file in pictures:
        # for pages of all languages: the front end puts this folder before the name in a page
        kind, content = fetch(server, f"/extensions/{PACK}/docs/{file.name}")
        assert kind == "image/png" and content == file.read_bytes()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_names_every_input_and_output(server, nodes, language):
    locale = read(language)
    for name, info in nodes.items():
        parts = sections(help_page(server, name, language))
        inputs, outputs = (rows(parts[title]) for title in SECTIONS[language][:2])
        names = list(inputs_of(info)), [output for output, _ in outputs_of(info)]
        for table, said, key in zip((inputs, outputs), names, ("inputs", "outputs"), strict=True):
            shown = [text["name"] for text in locale[name].get(key, {}).values()]
            if language == "en":
                want = [f"`{one}`" for one in said]
            else:
                want = [f"{there} `{one}`" for there, one in zip(shown, said, strict=True)]
            assert [row[0] for row in table] == want, name
            assert all(row[1] for row in table), name


def test_errors_on_a_page_are_those_of_the_code(server, nodes):
    for name in nodes:
        told = errors_of(help_page(server, name, "en"), "en")
        assert [text for text in told if not is_said(text)] == [], name
        assert errors_of(help_page(server, name, "zh"), "zh") == told, name


def test_english_is_what_the_schemas_say(nodes):
    """Where it is not, `python tests/support/node_texts.py` writes it again."""
    assert read("en") == {name: texts_of(info) for name, info in nodes.items()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_every_text_and_nothing_else(nodes, language):
    assert shape(read(language)) == {name: shape(texts_of(info)) for name, info in nodes.items()}
    assert all(text.strip() == text and text for text in all_texts(read(language)))


def test_chinese_is_chinese():
    names = {"VAE", "CFG", "CLIP", "Latent", "Sigmas", "ControlNet", "加噪Latent"}
    for text in all_texts(read("zh")):
        assert text in names or re.search("[\u4e00-\u9fff]", text), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_has_signs_that_the_front_end_reads_specially(language):
    assert not [text for text in all_texts(read(language)) if SPECIAL & set(text)]


def test_the_server_hands_out_the_languages(server, nodes):
    told = server.get("/i18n")
    for language in LANGUAGES:
        assert read(language).items() <= told[language]["nodeDefs"].items()
    assert {file.parent.name for file in LOCALES.glob(f"*/{FILE}")} == set(LANGUAGES)
    assert set(told["zh"]["nodeCategories"]) == {CATEGORY}


def test_frame_bisector_is_found_by_the_words_of_the_field(nodes):
    """Where the host knows such words; on older ones the key is missing."""
    if "search_aliases" not in nodes["FrameBisector"]:
        pytest.skip("this ComfyUI finds nodes by their names alone")
    words = {"morph", "interpolate", "in between", "tween", "transition"}
    assert words <= set(nodes["FrameBisector"]["search_aliases"])
