"""The software and hardware that this node trains with."""

from __future__ import annotations

from rescind.node.facts import RoundFacts
from rescind.node.session import Session
from rescind.withdrawals import StackPart


def stack_of(session: Session, round_id: int) -> StackPart:
    """Return what a training of a round runs on; on the same stack it gives the same bytes.

    Args:
        session: The node's session.
        round_id: The round, whose engine settings are kept from its first training.
    """
    import torch

    from rescind.training import EngineSettings

    device = session.model.base.device
    kept = RoundFacts.load(session.journal, round_id).engine
    settings = EngineSettings(**(kept or session.config.engine.settings()))
    coarse = settings.in_bf16(device) or session.config.model.dtype != "float32"
    return StackPart(
        torch=torch.__version__,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        cpu=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        precision="bfloat16" if coarse else "float32",
        deterministic=device.type == "cpu" or settings.deterministic,
    )
