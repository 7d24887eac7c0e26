"""From the rows of an exit to sentences, by the attention decoder of that exit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from .decode.attention import (
    END,
    AttentionHypothesis,
    AttentionSearch,
    CtcPrefixes,
    Greedy,
    SpecialLabels,
    placed,
    search,
)
from .encoder import Encoder, ExitOutput
from .exits.attention import FIRST_STEPS
from .families import aed


@dataclass(frozen=True)
class AttentionDecoder:
    """The attention decoders of a model, and how they are searched. Made by
    `Model.attention_decoder`.

    silent: labels that are no text. owner: the model of the encoder, by which a decoder is pickled.
    Raises ArgumentError for a model without such decoders.
    """

    encoder: Encoder
    silent: frozenset[int]
    how: AttentionSearch = AttentionSearch()
    owner: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        aed.require_decoder(self.config)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.owner is None:
            raise TypeError("expected the decoder of a model to be pickled, found one without it")
        return _of_model, (self.owner, self.how)

    @property
    def config(self) -> Any:
        """That of the model, `ee_ref.families.aed.Config`."""
        return self.encoder.config

    @property
    def special(self) -> SpecialLabels:
        """Labels that are no text to the decoder."""
        config = self.config
        return SpecialLabels(config.start_token, config.end_token, config.pad_token, config.blank)

    def __call__(self, out: ExitOutput, inputs: int) -> list[AttentionHypothesis]:
        """The best sentences of an exit, best first; inputs: frames of features that it is of."""
        return self.attend(out, inputs).hypotheses

    def attend(self, out: ExitOutput, inputs: int) -> Attended:
        """The same, no further than it is asked for."""
        return Attended(self, out, inputs)


def _of_model(model: Any, how: AttentionSearch) -> AttentionDecoder:
    return replace(model.attention_decoder(), how=how)


class Attended:
    """What the decoder of one exit says. For one thread at a time."""

    def __init__(self, decoder: AttentionDecoder, out: ExitOutput, inputs: int) -> None:
        self._decoder, self._out = decoder, out
        limit = decoder.how.limit(len(out.hidden), inputs) if len(out.hidden) else 0
        self._limit = min(limit, decoder.config.max_tokens)

    @cached_property
    def _greedy(self) -> Greedy:
        return Greedy(self._steps(1), self._decoder.special, self._limit)

    def _steps(self, width: int) -> Any:
        if not self._limit:
            return None
        return self._decoder.encoder.decoder(self._out.exit, self._out.hidden, width, self._limit)

    def score(self, name: str) -> float:
        """One of `exits.ATTENTION_SCORES`, of greedy decoding."""
        if name == "attention_entropy":
            return self._greedy.entropy(FIRST_STEPS)
        return self._greedy.path()

    @cached_property
    def hypotheses(self) -> list[AttentionHypothesis]:
        """The best sentences, best first, each label with a frame."""
        decoder, out = self._decoder, self._out
        how, config = decoder.how, decoder.config
        if how.rule == END and how.beam_width == 1 and not how.ctc_weight:
            found = [self._greedy.best(how)]
        else:
            ctc = CtcPrefixes(out.log_probs, config.blank, decoder.silent) \
                if how.ctc_weight and self._limit else None
            found = search(self._steps(how.beam_width), decoder.special, self._limit, how, ctc)
        return [placed(hypothesis, out.log_probs, config.blank, decoder.silent)
                for hypothesis in found]
