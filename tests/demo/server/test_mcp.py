"""The endpoints as tools of agents, called by an MCP client over HTTP."""

import asyncio
import base64
import io
import json

import pytest
from PIL import Image

from transflow_core.images import save_png

from ...helpers import apart

mcp = pytest.importorskip("mcp", reason="tools for agents are optional and need the package mcp")


@pytest.fixture(scope="module")
def tools_of(served):
    """`tools_of()` lists the tools; `tools_of(name, **arguments)` calls one."""
    from mcp.client.session import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def ask(name, arguments):
        async with (
            streamable_http_client(f"{served}/gradio_api/mcp/") as (reading, writing, _),
            ClientSession(reading, writing) as session,
        ):
            await session.initialize()
            return await (session.call_tool(name, arguments) if name else session.list_tools())

    return lambda name=None, **arguments: apart(asyncio.run, ask(name, arguments))  # Playwright has a loop in this one


def picture(tmp_path, colour):
    """A file as an agent gives it."""
    save_png(Image.new("RGB", (16, 16), colour), tmp_path / "a.png")
    return "data:image/png;base64," + base64.b64encode((tmp_path / "a.png").read_bytes()).decode()


def words(answer):
    return " ".join(content.text for content in answer.content if content.type == "text")


def told(answer):
    """The facts, which come last."""
    return json.loads(answer.content[-1].text)


def test_every_endpoint_is_a_tool_and_nothing_else_is(tools_of):
    from demo.server.api import ENDPOINTS

    tools = {tool.name: tool for tool in tools_of().tools}
    assert sorted(tools) == sorted(ENDPOINTS)
    assert tools["sample"].inputSchema["required"] == ["evidence"]
    assert "resemble the evidence" in tools["sample"].description
    assert "base64" in tools["sample"].inputSchema["properties"]["evidence"]["items"]["format"]


@pytest.mark.parametrize(("how", "pictures"), [({}, 1), ({"format": "images"}, 4)])
def test_samples_of_pictures_are_shown_one_by_one_with_their_facts(tools_of, tmp_path, how, pictures):
    given = [picture(tmp_path, colour) for colour in ("orange", "navy")]
    answer = tools_of("sample", evidence=given, prior="tiny.safetensors", align="never", n=4, seed=3, **how)
    assert not answer.isError, words(answer)
    shown = [content for content in answer.content if content.type == "image"]
    assert len(shown) == pictures
    with Image.open(io.BytesIO(base64.b64decode(shown[0].data))) as image:
        assert image.width >= 16 and len(image.convert("RGB").getcolors(1 << 20)) > 8
    facts = told(answer)
    assert facts["m"] == 2 and facts["recipe"]["seed"] == 3
    assert [image["used"] for image in facts["evidence"]] == [True, True]


def test_a_posterior_of_one_tool_is_evidence_of_another(tools_of, tmp_path):
    """By the address that the first tool gave, though it is of a machine that no server would be sent to."""
    how = {"prior": "tiny.safetensors"}
    posterior = tools_of("condition", evidence=[picture(tmp_path, "orange")], align="never", lam_ratio=0.25, **how)
    assert not posterior.isError, words(posterior)
    address = next(c.text for c in posterior.content if c.type == "text" and c.text.startswith("http"))
    answer = tools_of("sample", evidence=[address], n=1, **how)
    assert not answer.isError, words(answer)
    assert told(answer)["recipe"]["lam_ratio"] == 0.25


def test_classes_of_pictures(tools_of, tmp_path):
    warm, cold = ([picture(tmp_path, colour) for colour in pair] for pair in (("red", "orange"), ("blue", "navy")))
    answer = tools_of(
        "classify", examples={"warm": warm, "cold": cold}, images=[warm[0]], align="never", prior="tiny.safetensors"
    )
    assert not answer.isError, words(answer)
    assert told(answer)["classes"] == {"warm": 2, "cold": 2}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("data:image/png;base64,!!!!", "not base64"),
        ("/etc/passwd", "only uploaded files are read"),
        ("http://127.0.0.1:1/a.png", "only uploaded files are read"),
        ("http://127.0.0.1/gradio_api/file=/etc/passwd", "only uploaded files are read"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(tools_of, given, why):
    answer = tools_of("align", images=[given], prior="tiny.safetensors")
    assert answer.isError and why in words(answer), words(answer)
