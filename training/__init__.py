"""Local LoRA training, routing, evaluation and export. Importing it imports torch."""

from training.base import Base, WrongBaseModel, load_base, model_id, pick_device
from training.checkpoint import (
    Checkpoint,
    CheckpointBroken,
    CheckpointMismatch,
    RuleNotResumable,
)
from training.data import Example, normalize, read_examples, write_examples
from training.digest import digest_on
from training.evaluate import Evaluation, Item, answer_loss_per_example, evaluate
from training.export import export_peft
from training.loaded import WrongAdapter, integers_in_memory, verify_loaded
from training.lora import LoraModel
from training.packing import NotPackable
from training.privacy import BudgetSpent, Mechanism, PrivacySpent
from training.serve import Answer, Assistant
from training.settings import EngineSettings
from training.train import Progress, TrainResult, choose, round_seed, train_round

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
    "RuleNotResumable",
    "TrainResult",
    "WrongAdapter",
    "WrongBaseModel",
    "answer_loss_per_example",
    "choose",
    "digest_on",
    "evaluate",
    "export_peft",
    "integers_in_memory",
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
