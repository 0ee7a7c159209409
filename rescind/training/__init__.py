"""Local LoRA training, serving, evaluation and export.

A name is imported when it is first used: most of them import torch, which takes seconds, and a
program that only reads or writes examples should not pay for it. No other room needs this.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from rescind.training.data import Example, Turn, normalize, write_examples
    from rescind.training.engine.checkpoint import (
        Checkpoint,
        CheckpointBroken,
        CheckpointMismatch,
        RuleNotResumable,
    )
    from rescind.training.engine.choice import choose, round_seed
    from rescind.training.engine.packing import NotPackable
    from rescind.training.engine.privacy import BudgetSpent, Mechanism, PrivacySpent
    from rescind.training.engine.round import Progress, RoundPrivacy, RoundTraining
    from rescind.training.engine.settings import EngineSettings
    from rescind.training.engine.train import Trainer, TrainResult, train_round
    from rescind.training.export.adapter import export_peft
    from rescind.training.model.agreed import load_agreed
    from rescind.training.model.base import Base, WrongBaseModel, load_base, model_id, pick_device
    from rescind.training.model.digest import digest_on
    from rescind.training.model.loaded import WrongAdapter, integers_in_memory, verify_loaded
    from rescind.training.model.lora import LoraModel
    from rescind.training.reading.examples import read_examples
    from rescind.training.reading.options import ReadOptions
    from rescind.training.serving.evaluate import (
        Evaluation,
        Item,
        answer_loss_per_example,
        evaluate,
    )
    from rescind.training.serving.serve import Answer, Assistant

_NAMES = {
    "data": "Example Turn normalize write_examples",
    "engine.checkpoint": "Checkpoint CheckpointBroken CheckpointMismatch RuleNotResumable",
    "engine.packing": "NotPackable",
    "engine.privacy": "BudgetSpent Mechanism PrivacySpent",
    "engine.round": "Progress RoundPrivacy RoundTraining",
    "engine.settings": "EngineSettings",
    "engine.choice": "choose round_seed",
    "engine.train": "Trainer TrainResult train_round",
    "model.agreed": "load_agreed",
    "model.base": "Base WrongBaseModel load_base model_id pick_device",
    "model.digest": "digest_on",
    "export.adapter": "export_peft",
    "model.loaded": "WrongAdapter integers_in_memory verify_loaded",
    "model.lora": "LoraModel",
    "reading.examples": "read_examples",
    "reading.options": "ReadOptions",
    "serving.evaluate": "Evaluation Item answer_loss_per_example evaluate",
    "serving.serve": "Answer Assistant",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

if not typing.TYPE_CHECKING:  # A checker would take every unknown name for Any.

    def __getattr__(name: str) -> typing.Any:
        """Import a public name from its module."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


__all__ = [
    "Answer",
    "Assistant",
    "Base",
    "BudgetSpent",
    "Checkpoint",
    "CheckpointBroken",
    "CheckpointMismatch",
    "EngineSettings",
    "Evaluation",
    "Example",
    "Item",
    "LoraModel",
    "Mechanism",
    "NotPackable",
    "PrivacySpent",
    "Progress",
    "ReadOptions",
    "RoundPrivacy",
    "RoundTraining",
    "RuleNotResumable",
    "TrainResult",
    "Trainer",
    "Turn",
    "WrongAdapter",
    "WrongBaseModel",
    "answer_loss_per_example",
    "choose",
    "digest_on",
    "evaluate",
    "export_peft",
    "integers_in_memory",
    "load_agreed",
    "load_base",
    "model_id",
    "normalize",
    "pick_device",
    "read_examples",
    "round_seed",
    "train_round",
    "verify_loaded",
    "write_examples",
]
