"""Recipes and their views: whatever is a parameter is in all of them, and comes back the same."""

import json
import math
import shlex
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest
import typer
from typer.testing import CliRunner

from transflow_core import recipes
from transflow_core.operations import Result
from transflow_core.recipes import RECIPES, Condition, Interpolate, Method, Restyle, Sample, Sweep, parameter, plain
from transflow_core.views import add_command, from_metadata, to_link, to_metadata, to_python, to_shell

EXAMPLES = [
    Sample(method="bootstrap", images_per_sample=1, lam_ratio=(0.1, math.inf), robust=False, n=3),
    Sample(method="local", likeness=1 / 3, lam_ratio=5e-324, temperature=1e-17),
    Sample(likeness=0, lam_ratio=1.7e308),
    Sample(near=(3, 12), along=(0.5, -1.25)),
    Sweep(over="lam_ratio", values=(0.1, 2), align="never"),
    Interpolate(interpolation="wasserstein", lam_ratio_a=0.3, seed=2**31 - 1),
    Restyle(strength=(0.5, 1), match_colours=False, keep_levels=2),
    Condition(weights=(1, 0.5), likeness=0.25),
    *(model() for model in RECIPES.values()),
]
of_examples = pytest.mark.parametrize("recipe", EXAMPLES, ids=lambda recipe: to_link(recipe) or recipe.title())


def command_of(model):
    """The command of a recipe alone, and the recipes that it was called with."""
    app, seen = typer.Typer(), []
    app.callback()(lambda: None)  # so that a single command keeps its name
    add_command(app, model, lambda model, values, inputs, **_: seen.append(texts_to(model, values)))
    return app, seen


def texts_to(model, values):
    return model.from_texts({name: recipes.to_text(value) for name, value in values.items()})


@of_examples
def test_every_view_gives_the_recipe_back(recipe):
    assert type(recipe).from_texts(dict(parse_qsl(to_link(recipe)))) == recipe
    assert from_metadata(to_metadata(recipe)) == recipe
    assert eval(to_python(recipe), dict(RECIPES and {type(recipe).__name__: type(recipe)})) == recipe
    assert type(recipe).checked(json.loads(json.dumps(plain(recipe.model_dump()), allow_nan=False))) == recipe
    assert hash(recipe) == hash(recipe.model_copy())
    app, seen = command_of(type(recipe))
    classes = [] if recipe.title() != "classify" else ["--class", "cats"]
    pair = ["b.png"] if "b" in recipe.inputs else []
    style = ["--style", "s.png"] if recipe.title() == "restyle" else []
    words = shlex.split(to_shell(recipe, ["a.png", *pair, *classes, *style], "out.png"))[1:]
    done = CliRunner().invoke(app, words)
    assert seen == [recipe], done.output


def test_a_link_says_what_differs_and_a_picture_says_all():
    assert to_link(Sample()) == "" and to_link(Sample(n=4)) == "n=4"
    assert to_metadata(Sample()).keys() >= {"recipe", "method", "n", "seed", "temperature", "prior"}


class Sharper(Sample):
    """Draw new, sharper images."""

    sharpness: float = parameter(0.5, "How crisp the samples are.", ge=0, le=1)


def test_one_line_more_and_a_parameter_is_in_every_view():
    recipe = Sharper(sharpness=0.75)
    app, seen = command_of(Sharper)
    shown = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["sharper", "--help"]).output
    assert "--sharpness" in shown and "How crisp the samples are." in shown
    CliRunner().invoke(app, shlex.split(to_shell(recipe, ["a.png"]))[1:])
    assert seen == [recipe]
    assert to_link(recipe) == "sharpness=0.75" and to_metadata(recipe)["sharpness"] == "0.75"
    assert to_python(recipe) == "Sharper(sharpness=0.75)"


def test_one_line_more_and_a_parameter_is_in_the_endpoint_the_tool_and_the_page():
    pytest.importorskip("mcp")
    import gradio as gr
    from gradio.mcp import GradioMCPServer

    from demo.controls import controls
    from demo.server.api import add_endpoints

    with gr.Blocks() as demo:
        add_endpoints(SimpleNamespace(), demo, {"sharper": Sharper})
        made = controls(Sharper, placed=Sample.model_fields)
    (told,) = (
        one
        for one in demo.get_api_info()["named_endpoints"]["/sharper"]["parameters"]
        if one["parameter_name"] == "sharpness"
    )
    assert (told["parameter_default"], told["type"]["maximum"]) == (0.5, 1)
    tool = GradioMCPServer(demo).get_input_schema("sharper")[0]["properties"]["sharpness"]
    assert (tool["minimum"], tool["maximum"]) == (0, 1) and "How crisp the samples are." in str(tool)
    assert list(made) == ["sharpness"]
    slider = made["sharpness"]
    assert (slider.value, slider.minimum, slider.maximum, slider.info) == (0.5, 0, 1, "How crisp the samples are.")


@pytest.mark.parametrize(
    ("model", "values", "words"),
    [
        (Sample, {"n": True}, "n is true; give a number or a word."),
        (Sample, {"n": 0}, "n is 0; the least is 1."),
        (Sample, {"n": "x"}, "n is 'x'; give a whole number."),
        (Sweep, {"over": "lam_ratio", "values": []}, "values is []; give at least 1."),
        (Sample, {"temperature": 2}, "temperature is 2; the most is 1.5."),
        (Sample, {"temperature": math.nan}, "temperature is nan"),
        (Sample, {"n": 2.5}, "n is 2.5"),
        (Sample, {"seed": None}, "seed is None"),
        (Sample, {"lam_ratio": -1}, "lam_ratio is -1; the least is 0."),
        (Sample, {"lam_ratio": "big"}, "lam_ratio is 'big'"),
        (Sample, {"lam_ratio": [0.1, -1]}, "lam_ratio is -1; the least is 0."),
        (Sample, {"lam_ratio": [1.0] * 40}, "not 40 of them"),
        (Sample, {"method": "mean"}, "method is 'mean'; choose 'auto', 'local', 'bootstrap' or 'posterior'."),
        (Sample, {"method": "posterior", "likeness": 1}, "likeness belongs to the method 'local'."),
        (Sample, {"sead": 1}, "There is no parameter 'sead'."),
        (Sample, {"prior": 3}, "prior is 3"),
        (Sample.limited(n=64), {"n": 65}, "n is 65; the most is 64."),
        (Sweep.limited(most=128), {"n": 100}, "this decodes 900 images; the most is 128."),
        (Sweep, {"values": []}, "values is []"),
        (Interpolate.limited(most=128), {"n": 20}, "this decodes 160 images"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(model, values, words):
    with pytest.raises(ValueError) as caught:
        model.checked(values)
    assert words in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_what_version_0_2_wrote_opens_within_todays_bounds():
    """What it wrote in links and pictures opens in `corpus`."""
    new = Method(method="bootstrap", lam_ratio=0.0, images_per_sample=1000.0)
    assert Method.from_texts({"manner": " blend: pieces=1e6 , lam_ratio=0 "}) == new


@pytest.mark.parametrize("text", ["median", "mean:pieces=2", "blend:pieces", "blend:pieces=0.5", "local:likeness=x"])
def test_old_text_that_is_none_is_refused(text):
    with pytest.raises(ValueError):
        Method.from_texts({"manner": text})


@pytest.mark.parametrize("name", ["nothing.txt", "a.bmp", "a.safetensors"])
def test_a_file_that_an_operation_cannot_write_is_refused_with_those_that_it_can(name, tmp_path):
    with pytest.raises(ValueError, match=r"sample writes .*\.png"):
        Result(Sample(), {}).save(tmp_path / name)


@pytest.mark.parametrize("model", RECIPES.values(), ids=RECIPES)
def test_only_what_makes_a_posterior_asks_how_much_an_outlier_counts(model):
    makes_none = model in (recipes.Align, recipes.Classify, recipes.Encode)
    done = CliRunner().invoke(command_of(model)[0], [model.title(), "--help"], env={"COLUMNS": "200"})
    assert ("--no-robust" in done.output) != makes_none
