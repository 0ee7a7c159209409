"""Local LoRA training, routing, evaluation and export. Importing it imports torch."""

from rescind.training.data import (
    Example,
    normalize,
    read_examples,
    write_examples,
)
from rescind.training.engine.checkpoint import (
    Checkpoint,
    CheckpointBroken,
    CheckpointMismatch,
    RuleNotResumable,
)
from rescind.training.engine.packing import NotPackable
from rescind.training.engine.privacy import BudgetSpent, Mechanism, PrivacySpent
from rescind.training.engine.round import Progress, RoundPrivacy, RoundTraining
from rescind.training.engine.settings import EngineSettings
from rescind.training.engine.train import (
    Trainer,
    TrainResult,
    choose,
    round_seed,
    train_round,
)
from rescind.training.model.base import (
    Base,
    WrongBaseModel,
    load_base,
    model_id,
    pick_device,
)
from rescind.training.model.digest import digest_on
from rescind.training.model.export import export_peft
from rescind.training.model.loaded import WrongAdapter, integers_in_memory, verify_loaded
from rescind.training.model.lora import LoraModel
from rescind.training.serving.evaluate import (
    Evaluation,
    Item,
    answer_loss_per_example,
    evaluate,
)
from rescind.training.serving.serve import Answer, Assistant

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
    "RoundPrivacy",
    "RoundTraining",
    "RuleNotResumable",
    "TrainResult",
    "Trainer",
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
