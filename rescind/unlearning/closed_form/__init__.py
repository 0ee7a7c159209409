"""Unlearning without training: closed forms on LoRA factors. Importing it imports no torch."""

from rescind.core.posted import (
    Posted,
    PostedMismatch,
    combine,
    decode,
    point_id,
)
from rescind.unlearning.closed_form.factors import (
    Factors,
    compress,
    concatenate,
    difference,
    relative_error,
    truncate,
)
from rescind.unlearning.closed_form.partial import PartialSettings, partial, posted_moments
from rescind.unlearning.closed_form.redirect import RedirectSettings, redirect
from rescind.unlearning.closed_form.ridge import ridge_edit, ridge_edit_within
from rescind.unlearning.closed_form.settings import FisherMeasure
from rescind.unlearning.closed_form.ssd import (
    NothingSelected,
    SsdSettings,
    fisher_of_block,
    posted_fisher,
    ssd,
)

__all__ = [
    "Factors",
    "FisherMeasure",
    "NothingSelected",
    "PartialSettings",
    "Posted",
    "PostedMismatch",
    "RedirectSettings",
    "SsdSettings",
    "combine",
    "compress",
    "concatenate",
    "decode",
    "difference",
    "fisher_of_block",
    "partial",
    "point_id",
    "posted_fisher",
    "posted_moments",
    "redirect",
    "relative_error",
    "ridge_edit",
    "ridge_edit_within",
    "ssd",
    "truncate",
]
