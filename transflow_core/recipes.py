"""What can be asked for: one frozen model for each operation. It holds all that decides a result, but the images.

A parameter is one line here, and `views` shows it in the command, the endpoint, the tool for agents, the link, the text
inside a picture, Python, the shell command and the controls of the page.
"""

import copy
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic.fields import FieldInfo

from .limits import RESTYLE_FRAMES, Range

DEFAULT_PRIOR = "celeba256"
"""What the page, the command line and `load_prior` take when nobody says which."""

CLASSIFYING_PRIOR = "celeba64"
"""The same for classifying: the smallest, because no larger one was measured to do better."""

ANIMATIONS = ("webp", "gif", "mp4")
"""The formats that move."""

Ratio = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Index = Annotated[int, Field(ge=0, lt=10_000)]
Deviations = Annotated[float, Field(ge=-3, le=3)]

Features = Literal["latents", "hog"]
FEATURES: dict[Features, str] = {"latents": "latents of the model", "hog": "edges, as HOG"}
"""What a classifier may compare."""

Shape = Literal["low-rank", "isotropic", "paper"]
"""The shapes of Σ that the classes of a classifier may share; see `FewShotClassifier`."""


class Input(NamedTuple):
    """Files that an operation takes.

    Attributes:
        description: one line for a person.
        kind: "images" (many files and folders), "set" (images, one folder or one saved posterior), "masks" (pictures,
            may be left out), "classes" (a name and its images, several times), or "archive" (one folder or zip).
        flag: its option in a command, where it is one that can be given again and again.
    """

    description: str
    kind: Literal["images", "set", "masks", "classes", "archive"] = "images"
    flag: str = ""


def parameter(default: Any, description: str, **bounds: Any) -> Any:
    """A parameter: its default, one line for a person, and its bounds."""
    return Field(default, description=description, **bounds)


def bounds(field: FieldInfo) -> tuple[Any, Any]:
    """The least and the most that a parameter may be; None where there is no bound."""
    found = {type(entry): entry for entry in field.metadata}
    return getattr(found.get(Ge), "ge", None), getattr(found.get(Le), "le", None)


def kinds(field: FieldInfo) -> list[Any]:
    """The types that a parameter takes, without None."""
    some = get_args(field.annotation) if get_origin(field.annotation) is not Literal else ()
    found = [kind for kind in some or (field.annotation,) if kind is not type(None)]
    return [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in found]


def within(model: "type[Recipe]", name: str) -> Range:
    """The bounds of a parameter, both ends among them.

    Example:
        >>> str(within(Sample, "temperature"))
        'from 0 to 1.5'
    """
    return Range(*bounds(model.model_fields[name]))


def ordered(model: "type[Recipe]") -> dict[str, FieldInfo]:
    """The parameters of a recipe: its own first, then those that it shares."""
    names = [name for one in model.__mro__ for name in vars(one).get("__annotations__", {})]
    return {name: model.model_fields[name] for name in dict.fromkeys(names) if name in model.model_fields}


class Recipe(BaseModel):
    """What every operation has. Raises ValueError for a parameter that is unknown or out of its bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra={})
    inputs: ClassVar[dict[str, Input]] = {}
    output: ClassVar[str] = ""
    """Where a command writes its result by default; "" for nowhere."""
    formats: ClassVar[tuple[str, ...]] = ("png",)
    """What the result can be written as; the first is the default. "images" is a file for each."""
    frames: ClassVar[int] = 0
    """The `steps` of an animation, of a recipe whose one step is a picture."""
    source: ClassVar[str] = ""
    """Who made its pictures, in the IPTC's words; "" where they are the given ones, or there are none."""
    most: ClassVar[int] = 0
    """The most images that it may decode; 0 for any number. See `limited`."""
    renamed: ClassVar[dict[str, str]] = {}
    """Names that earlier versions had, and the names of today."""

    @classmethod
    def title(cls) -> str:
        """Its name in commands, addresses and pictures."""
        return cls.__name__.lower()

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, values: Any) -> Any:
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and bool not in kinds(field):
                raise ValueError(f"{name} is {str(value).lower()}; give a number or a word")
        return values

    @model_validator(mode="after")
    def _within_the_most(self) -> Self:
        if type(self).most and self.cost() > type(self).most:
            raise ValueError(f"this decodes {self.cost()} images; the most is {type(self).most}")
        return self

    @classmethod
    def upgrade(cls, texts: dict[str, str]) -> dict[str, str]:
        """Texts that an earlier version wrote, in the names and words of this one."""
        return {cls.renamed.get(name, name): text for name, text in texts.items()}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Self:
        """From text, as links, pictures, saved posteriors and shells hold it. What is no parameter is passed over.

        Raises ValueError in one sentence.

        Example:
            >>> Sample.from_texts({"manner": "blend:pieces=2", "lam": "0.1", "m": "5"}).changed()
            {'method': 'bootstrap', 'lam_ratio': 0.1, 'images_per_sample': 2.0}
        """
        texts = {name: text for name, text in cls.upgrade(dict(texts)).items() if name in cls.model_fields}
        lists = {name for name in texts if any(get_origin(kind) is tuple for kind in kinds(cls.model_fields[name]))}
        alone = {name for name in lists if len(kinds(cls.model_fields[name])) == 1}
        split = {name: texts[name].split(",") for name in lists if name in alone or "," in texts[name]}
        return cls.checked(texts | split)

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """From untrusted values. Raises ValueError in one sentence, with the name, the value and the bound."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ValueError(sentence(error)) from error

    def texts(self) -> dict[str, str]:
        """Every parameter that has a value, as text."""
        return {name: to_text(value) for name, value in self if value is not None}

    @classmethod
    def limited(cls, most: int = 0, **bound: float) -> type[Self]:
        """A narrowed copy for a server: parameters with a lower upper bound, and the most images that it decodes.

        Example:
            >>> Sample.limited(n=8)(n=9)
            Traceback (most recent call last):
            pydantic_core._pydantic_core.ValidationError: 1 validation error for Sample
            n
              Input should be less than or equal to 8 [type=less_than_equal, input_value=9, input_type=int]
            ...
        """
        fields: dict[str, Any] = {}
        for name, value in bound.items():
            field = copy.copy(cls.model_fields[name])
            field.metadata = [entry for entry in field.metadata if not isinstance(entry, Le)] + [Le(value)]
            fields[name] = (field.annotation, field)
        narrowed = create_model(cls.__name__, __base__=cls, __module__=cls.__module__, __doc__=cls.__doc__, **fields)
        narrowed.most = most
        return narrowed

    def cost(self) -> int:
        """How many images it decodes."""
        return 0

    def written_as(self, form: str) -> Self:
        """The same, as it must be to be written in one of its formats."""
        frames, still = type(self).frames, getattr(self, "steps", 0) == 1
        if not frames or still != (form in ANIMATIONS):
            return self
        return self.replace(steps=frames if still else 1)

    def changed(self) -> dict[str, Any]:
        """The parameters that differ from their defaults."""
        return {name: value for name, value in self if value != type(self).model_fields[name].default}

    def replace(self, **values: Any) -> Self:
        """The same with other values, checked."""
        return type(self).checked(dict(self) | values)


class Reading(Recipe):
    """How pictures become evidence."""

    prior: str = parameter(DEFAULT_PRIOR, "The trained flow: a shipped name, a file, or hf://owner/repo/file.")
    align: Literal["auto", "never", "always"] = parameter(
        "auto", "Align faces: auto (where there is a face), never, always (faces only)."
    )
    faces: Literal["largest", "all"] = parameter("largest", "Which faces of a picture count.")
    landmarks: Literal["5", "68"] = parameter("5", "dlib's landmarks: 5 (free licence) or 68.")


class Conditioning(Reading):
    """How pictures become a posterior."""

    robust: bool = parameter(True, "Images far from the training data count less, unless half of them are.")


class Method(Recipe):
    """How samples are drawn.

    - "local" draws new members of the set: each place of a sample comes from images of its own, and of a few unlike
      photographs also from faces that the model draws (see `Local`).
    - "bootstrap" mixes a few images in each sample: the Bayesian bootstrap (Rubin 1981).
    - "posterior" is the paper's: a draw of the posterior of the set's mean, N(μp, Σp) (eq. 3-8).
    - "auto" is the method that a saved posterior was made with, else the one that suits the evidence.

    In all three r = λ/m says how much the model counts: r → 0 is the evidence alone, r → ∞ the prior N(0, I), of
    "local" at temperature 0.6.
    """

    renamed = {"lam": "lam_ratio", "pieces": "images_per_sample", "t": "temperature", "split": "style_levels"}

    method: Literal["auto", "local", "bootstrap", "posterior"] = parameter("auto", "How samples are drawn.")
    lam_ratio: Ratio | tuple[Ratio, ...] | None = parameter(
        None, "λ/m: one number, or one for each latent level, fine to coarse. By default what suits the method."
    )
    likeness: float | None = parameter(
        None, "1: close to single images. 0: newer, mixed from more of them.", ge=0, le=1
    )
    images_per_sample: float | None = parameter(
        None, "How many images one sample is mixed from; more than there are is all.", ge=1, le=1000
    )

    @model_validator(mode="after")
    def _numbers_of_the_method(self) -> Self:
        for method, numbers in NUMBERS.items() if self.method != "auto" else ():
            for name in numbers.keys() - NUMBERS[self.method].keys():
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} belongs to the method {method!r}")
        if isinstance(self.lam_ratio, tuple) and not 1 <= len(self.lam_ratio) <= 32:
            raise ValueError(f"lam_ratio is one number, or one for each level, not {len(self.lam_ratio)} of them")
        return self

    @classmethod
    def upgrade(cls, texts: dict[str, str]) -> dict[str, str]:
        """Version 0.2 wrote `manner`, such as "blend" or "blend:lam_ratio=0.1/0.5,pieces=2"."""
        kind, _, numbers = texts.get("manner", "").partition(":")
        parts = (part.partition("=") for part in numbers.split(",") if part)
        texts = super().upgrade(texts | {name.strip(): value.strip() for name, _, value in parts})
        words = {"predictive": "local", "blend": "bootstrap", "mean": "posterior"}
        texts |= {"method": words.get(kind.strip(), kind.strip())} if kind else {}
        if "lam_ratio" in texts:
            texts["lam_ratio"] = texts["lam_ratio"].strip("[]").replace("/", ",").replace("'", "").strip()
        if kind and texts.get("images_per_sample"):  # it had no upper bound
            texts["images_per_sample"] = f"{min(float(texts['images_per_sample']), 1000):g}"
        return texts

    @property
    def choices(self) -> "Method":
        """These parameters alone."""
        return Method(**{name: getattr(self, name) for name in Method.model_fields})

    def filled(self) -> Self:
        """With the numbers that its method has where none was given; "auto" stays as it is."""
        if self.method == "auto":
            return self
        numbers = {name: value for name, value in NUMBERS[self.method].items() if getattr(self, name) is None}
        return self.replace(**numbers) if numbers else self

    def decided(self) -> Self:
        """`filled`, where "auto" with a number becomes a method that has it."""
        chosen = "local" if self.images_per_sample is None else "bootstrap"
        named = self.method != "auto" or not self.choices.changed()
        return (self if named else self.replace(method=chosen)).filled()


NUMBERS: dict[str, dict[str, float]] = {
    "local": {"lam_ratio": 0.02, "likeness": 0.5},
    "bootstrap": {"lam_ratio": 0.1, "images_per_sample": 2.0},
    "posterior": {"lam_ratio": 0.5},
}
"""The numbers of each method unless others are asked for. The paper advises λ/m of 0.3 to 0.7 for its own."""


class Drawing(Method, Conditioning):
    """What all operations that draw samples have."""

    source = "trainedAlgorithmicMedia"

    seed: int = parameter(0, "The same seed gives the same random numbers.", ge=0, le=2**31 - 1)
    temperature: float = parameter(1.0, "Scales the standard deviation of the draws.", ge=0, le=1.5)


_EVIDENCE = Input("Images, or one saved posterior.", "set")
_MASKS = Input("White where an image is ignored: one for all images, or one for each.", "masks", "--mask")


class Sample(Drawing):
    """Draw new images that resemble the evidence; as an animation, each turns into the next, and the last into the
    first."""

    inputs = {"evidence": _EVIDENCE, "masks": _MASKS}
    output = "samples.png"
    formats = ("png", "jpg", "images", *ANIMATIONS)
    frames = 8

    n: int = parameter(16, "How many images to draw.", ge=1, le=10_000)
    structure: str = parameter("evidence", "Where coarse levels come from: evidence, prior, or an example set.")
    style: str = parameter("evidence", "Where fine levels come from: evidence, prior, or an example set.")
    style_levels: int = parameter(3, "How many of the finest levels are style.", ge=0, le=32)
    near: tuple[Index, ...] | None = parameter(
        None, "Draw around this sample, from 0; more numbers are samples around samples.", min_length=1, max_length=8
    )
    along: tuple[Deviations, ...] | None = parameter(
        None, "How far all move along the set's own directions, in standard deviations.", min_length=1, max_length=8
    )
    steps: int = parameter(1, "Frames from one image to the next, in an animation; 1 for a picture.", ge=1, le=100)

    def cost(self) -> int:
        return self.n * self.steps + len(self.near or ())

    @property
    def mixed(self) -> bool:
        """Whether some levels come from elsewhere than the evidence."""
        return (self.structure, self.style) != ("evidence", "evidence")


class Sweep(Drawing):
    """Draw the same samples at several values of one number: a column each (at several λ/m, Fig. 7 and 8)."""

    inputs = {"evidence": _EVIDENCE}
    output = "sweep.png"
    formats = ("png", "jpg", "webp")

    over: Literal["auto", "lam_ratio", "likeness", "images_per_sample"] = parameter(
        "auto", "Which number changes; auto is the method's own."
    )
    values: tuple[Ratio, ...] | None = parameter(None, "Its values, 1 to 16 of them.", min_length=1, max_length=16)
    n: int = parameter(4, "How many samples, a row each.", ge=1, le=1000)

    def cost(self) -> int:
        return self.n * len(self.values or range(9))


class Interpolate(Drawing):
    """Go from one set to another with the same draws (Fig. 3)."""

    inputs = {"a": Input("Images, or one saved posterior.", "set"), "b": Input("The other end.", "set")}
    output = "interpolation.png"
    formats = ("png", "jpg", *ANIMATIONS)
    renamed = Drawing.renamed | {"lam_a": "lam_ratio_a", "lam_b": "lam_ratio_b"}

    # Not "path": Gradio's clients take an object with that key for a file.
    interpolation: Literal["linear", "wasserstein", "direct"] = parameter(
        "linear",
        "linear, as in the paper; wasserstein; or direct, from the first image of a to the first of b (Fig. 4).",
    )
    steps: int = parameter(8, "Posteriors along the path, both ends included.", ge=2, le=1000)
    n: int = parameter(3, "How many draws, a row each.", ge=1, le=1000)
    lam_ratio_a: Ratio | None = parameter(None, "λ/m of the first end, if it differs.")
    lam_ratio_b: Ratio | None = parameter(None, "λ/m of the other end, if it differs.")

    @classmethod
    def upgrade(cls, texts: dict[str, str]) -> dict[str, str]:
        """Version 0.2 called the interpolation `method`."""
        if texts.get("method") not in (None, *get_args(cls.model_fields["method"].annotation)):
            texts = texts | {"interpolation": texts["method"], "method": "auto"}
        return super().upgrade(texts)

    def cost(self) -> int:
        return self.n * self.steps


class Restyle(Conditioning):
    """Restyle photographs of people: every face in them, and the colours around."""

    inputs = {
        "photographs": Input("Pictures of people."),
        "evidence": Input("The style: images, or one saved posterior.", "set", "--style"),
        "masks": Input(
            "White where something in a photograph is removed first: one for all, or one for each.", "masks", "--mask"
        ),
    }
    source = "compositeWithTrainedAlgorithmicMedia"
    output = "restyled.png"
    formats = ("png", "jpg", *ANIMATIONS)
    frames = RESTYLE_FRAMES

    strength: Share | tuple[Share, ...] = parameter(
        0.6, "0 is the photograph, 1 is all of the style; or one for each level."
    )
    likeness: float = parameter(0.0, "0 keeps most of the person, 1 takes what the style has.", ge=0, le=1)
    keep_levels: int = parameter(0, "How many of the coarsest levels stay the photo's.", ge=0, le=32)
    match_colours: bool = parameter(True, "The rest of the photo takes the colours of the faces.")
    faces: Literal["largest", "all"] = parameter("largest", "Which faces of a style picture count; of photos all.")
    steps: int = parameter(1, "Frames of an animation, one way; 1 for a picture.", ge=1, le=200)

    renamed = {"levels_kept": "keep_levels", "toned": "match_colours"}


class Saving(Recipe):
    """What all operations that save a posterior have."""

    moments_only: bool = parameter(
        False, "Save the mean, the covariance and m, no single images. Only the method posterior draws from them."
    )


class Mix(Saving, Conditioning):
    """Make one posterior of two sets: a file that every command, the API and the page take as evidence.

    The file contains your images, unless you ask for moments only: share it with whom you would show them."""

    inputs = {"a": Input("Images, or one saved posterior.", "set"), "b": Input("The other set.", "set")}
    output = "posterior.safetensors"
    formats = ("safetensors",)

    how: Literal["add", "subtract", "move"] = parameter(
        "add", "add: more of both. subtract: like a, less like b. move: a, moved along the difference of the means."
    )
    share: float = parameter(0.5, "How much of b: 0 is a alone.", ge=0, le=1)


class Condition(Saving, Method, Conditioning):
    """Condition on images, by equations 3 to 8: the posterior, as a file that every command, the API and the page take.

    The file contains your images, unless you ask for moments only: share it with whom you would show them."""

    inputs = {"evidence": Input("Images."), "masks": _MASKS}
    output = "posterior.safetensors"
    formats = ("safetensors",)

    weights: tuple[Annotated[float, Field(ge=0, le=100)], ...] | None = parameter(
        None, "How often each image counts, 0 to 100; once by default.", min_length=1
    )

    @model_validator(mode="after")
    def _method_of_moments(self) -> Self:
        if self.moments_only and self.method not in ("auto", "posterior"):
            raise ValueError(f"moments_only leaves no images for the method {self.method!r}")
        return self


class Classify(Reading):
    """Tell which class images are of, from a few examples of each (eq. 9-11); or that they are of none."""

    inputs = {
        "images": Input("The images to classify."),
        "examples": Input("Images of one class, under its name; or one saved classifier.", "classes", "--class"),
    }
    formats = ("safetensors",)

    prior: str = parameter(CLASSIFYING_PRIOR, "The trained flow; celeba64 is the smallest, and the quickest.")
    features: Literal["auto", "latents", "hog"] = parameter(
        "auto", "What is compared; auto: what tells held-out examples apart."
    )
    covariance: Shape = parameter("low-rank", "The shape of Σ, how images of one class differ, in all classes.")
    lam_ratio: float | None = parameter(None, "λ/m; by default from the examples.", ge=1e-6, le=1000)
    copies: int = parameter(0, "Distorted copies of each example.", ge=0, le=100)


class Align(Reading):
    """Cut every face out of pictures, aligned as the model was trained."""

    inputs = {"images": Input("Pictures.")}
    output = "aligned"
    formats = ("images",)

    align: Literal["auto", "never", "always"] = parameter(
        "always", "Align faces: auto (where there is a face), never, always (faces only)."
    )
    faces: Literal["largest", "all"] = parameter("all", "Which faces of a picture are cut out.")
    size: int | None = parameter(None, "Side of the result in pixels; by default the model's.", ge=8, le=2048)


class Encode(Reading):
    """Encode images: their latents, log-likelihoods, and how typical they are."""

    inputs = {"images": Input("Images.")}
    formats = ("safetensors",)


RECIPES: dict[str, type[Recipe]] = {
    recipe.title(): recipe for recipe in (Sample, Sweep, Interpolate, Restyle, Mix, Condition, Classify, Align, Encode)
}
"""Every operation, by its name."""


def check_suffix(model: type[Recipe], path: Path) -> None:
    """Raises ValueError, with the suffixes that there are, for a file that an operation cannot write."""
    able = {"" if one == "images" else f".{one}" for one in model.formats} | ({""} if "png" in model.formats else set())
    if path.suffix.lower().replace(".jpeg", ".jpg") not in able:
        words = ", ".join(sorted(one or "a folder" for one in able))
        raise ValueError(f"{path.name}: {model.title()} writes {words}.")


def to_text(value: Any) -> str:
    """A value as links, pictures and shells hold it.

    Example:
        >>> to_text((0.1, math.inf)), to_text(True), to_text(1.0)
        ('0.1,inf', 'true', '1')
    """
    if isinstance(value, tuple | list):
        return ",".join(map(to_text, value))
    if isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value).removesuffix(".0")


def sentence(error: ValidationError) -> str:
    """What is wrong with a recipe, in one sentence."""
    found = error.errors(include_url=False)
    # Of a list, what is wrong with the first such part of it, and not that it is no single number.
    parts = [one for one in found if len(one["loc"]) > 2] if isinstance(found[0]["input"], list | tuple) else []
    first = [*parts, *found][0]
    name = ".".join(str(part) for part in first["loc"][:1])
    given, limits = reprlib.repr(first["input"]), first.get("ctx", {})
    words = {
        "greater_than_equal": f"{name} is {given}; the least is {limits.get('ge')}.",
        "less_than_equal": f"{name} is {given}; the most is {limits.get('le')}.",
        "literal_error": f"{name} is {given}; choose {limits.get('expected')}.",
        "too_short": f"{name} is {given}; give at least {limits.get('min_length')}.",
        "too_long": f"{name} is {given}; give at most {limits.get('max_length')}.",
        "int_parsing": f"{name} is {given}; give a whole number.",
        "missing": f"{name} is missing.",
        "extra_forbidden": f"There is no parameter {name!r}.",
        "value_error": f"{first['msg'].removeprefix('Value error, ')}.",
    }
    return words.get(first["type"], f"{name} is {given}: {first['msg'][:1].lower()}{first['msg'][1:]}.")


def plain(value: Any) -> Any:
    """A value as JSON takes it: an infinite number is the text "inf".

    Example:
        >>> plain({"lam_ratio": (0.1, math.inf)})
        {'lam_ratio': [0.1, 'inf']}
    """
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return "inf" if value == math.inf else value
