"""Bodies of requests in OpenAI's form: what is read, what is refused, and why.

A parameter that changes an answer and is not done here is refused, unless its value is the default.
Parameters that this version has never heard of are ignored, as other servers ignore them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rescind.serving.asked import Asked, Sampling
from rescind.serving.errors import ApiError, invalid
from rescind.serving.names import checked
from rescind.training import Turn

_MOST_STOPS = 16
_LONGEST_STOP = 256
_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "echo": (False,),
    "suffix": ("",),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "top_k": (0, -1),
    "min_p": (0,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
}
"""Parameters that are not done here, with the values that ask for nothing."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Body(BaseModel):
    """The parameters that both kinds of requests have."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1, max_length=_LONGEST_STOP)], ...],
            BeforeValidator(_listed),
            Field(max_length=_MOST_STOPS),
        ]
        | None
    ) = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None

    def sampling(self, max_tokens: int | None) -> Sampling:
        """Return how tokens are chosen.

        Without a temperature it is greedy, as the consortium's own commands are. OpenAI's default
        is 1.
        """
        return Sampling(
            max_tokens,
            0.0 if self.temperature is None else self.temperature,
            1.0 if self.top_p is None else self.top_p,
            self.seed,
            self.stop or (),
        )


_B = TypeVar("_B", bound=_Body)


class _Part(BaseModel):
    """A part of a message's content. Only text is done here."""

    type: Literal["text"]
    text: str


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    def turn(self) -> Turn:
        text = self.content
        if not isinstance(text, str):
            text = "".join(part.text for part in text)
        return Turn("system" if self.role == "developer" else self.role, text)


class _ChatBody(_Body):
    messages: Annotated[list[_Message], Field(min_length=1, max_length=1000)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None


_Tokens = Annotated[list[Annotated[int, Field(ge=0, strict=True)]], Field(min_length=1)]


class _CompletionBody(_Body):
    prompt: str | _Tokens | Annotated[list[str | _Tokens], Field(min_length=1)]


class StreamWishes(BaseModel):
    """How an answer is to be sent.

    Attributes:
        stream: Piece by piece.
        include_usage: With the number of tokens in a piece at the end.
    """

    stream: bool = False
    include_usage: bool = False


def read_chat(document: object) -> tuple[Asked, StreamWishes]:
    """Read the body of /v1/chat/completions.

    Raises:
        ApiError: A parameter is wrong or not done here.
    """
    name = _begin(document)
    body = _validated(_ChatBody, document)
    messages = tuple(each.turn() for each in body.messages)
    if messages[-1].role != "user":
        raise invalid("The last message must be the user's: it is what is answered.", "messages")
    if not messages[-1].text.strip():
        raise invalid("The last message is empty. Ask something.", "messages")
    most = body.max_completion_tokens or body.max_tokens
    return Asked(name, body.sampling(most), messages=messages), _wishes(body)


def read_completion(document: object) -> tuple[Asked, StreamWishes]:
    """Read the body of /v1/completions.

    Raises:
        ApiError: A parameter is wrong or not done here.
    """
    name = _begin(document)
    body = _validated(_CompletionBody, document)
    # OpenAI's default here is 16 tokens.
    sampling = body.sampling(body.max_tokens or 16)
    prompt: Any = body.prompt
    if isinstance(prompt, list) and not isinstance(prompt[0], int):
        if len(prompt) > 1:
            raise invalid(
                f"The request has {len(prompt)} prompts. Send one request for each.", "prompt"
            )
        prompt = prompt[0]
    if isinstance(prompt, str):
        if not prompt:
            raise invalid("The prompt is empty. Give at least one character.", "prompt")
        return Asked(name, sampling, text=prompt), _wishes(body)
    return Asked(name, sampling, tokens=tuple(prompt)), _wishes(body)


def _begin(document: object) -> str:
    """Return the model's name, after what is not done here is refused."""
    if not isinstance(document, dict):
        raise invalid("The body must be a JSON object.", code="invalid_json")
    for name, defaults in _DEFAULTS.items():
        value = document.get(name)
        if value is not None and value not in defaults:
            raise invalid(
                f"{name} is {str(value)[:80]}, and this server cannot do that. Leave it out.",
                name,
                "unsupported_parameter",
            )
    return checked(document.get("model"))


def _wishes(body: _Body) -> StreamWishes:
    options = body.stream_options
    return StreamWishes(
        stream=bool(body.stream), include_usage=bool(options and options.include_usage)
    )


def _validated(kind: type[_B], document: object) -> _B:
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise _explained(error) from error


def _explained(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False)[0]
    names = [part for part in first["loc"] if isinstance(part, int) or part.islower()]
    place = ".".join(str(part) for part in names) or None
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return invalid(f"The body has no {place}.", place, "missing_parameter")
    return invalid(f"{place}: {what[:1].lower()}{what[1:]}.", place)
