"""Local LoRA training, routing, evaluation and export. Importing it imports torch."""

from training.base import Base, WrongBaseModel, load_base, model_id, pick_device
from training.data import Example, normalize, read_examples, write_examples
from training.digest import digest_on
from training.evaluate import Evaluation, Item, answer_loss_per_example, evaluate
from training.export import export_peft
from training.lora import LoraModel
from training.serve import Answer, Assistant
from training.train import Progress, TrainResult, choose, round_seed, train_round

__all__ = [
    "Answer",
    "Assistant",
    "Base",
    "Evaluation",
    "Example",
    "Item",
    "LoraModel",
    "Progress",
    "TrainResult",
    "WrongBaseModel",
    "answer_loss_per_example",
    "choose",
    "digest_on",
    "evaluate",
    "export_peft",
    "load_base",
    "model_id",
    "normalize",
    "pick_device",
    "read_examples",
    "round_seed",
    "train_round",
    "write_examples",
]
