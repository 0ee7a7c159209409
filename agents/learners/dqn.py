"""DQN (Mnih et al. 2015, doi 10.1038/nature14236): trained by stable-baselines3, carried as a plain network.

What is trained is a multilayer perceptron on scaled observations; its weights are taken out, so that a
node decides by it without torch. A DQN policy does not go on learning in a node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rescind.agents.interface import FEATURES
from rescind.agents.learners.base import (
    N_AVAILABLE,
    N_MEMBERS,
    N_PARTICIPANTS,
    N_PRICE,
    N_QUALITY,
    N_SHARE,
    N_SPENT,
    Actions,
    Floats,
    Memoryless,
)
from rescind.agents.learners.registry import register
from rescind.core.errors import AgentError

if TYPE_CHECKING:
    import gymnasium


@dataclass(frozen=True)
class DQNConfig:
    """As stable-baselines3 names them. `width`: of both hidden layers. `steps`: rounds of training."""

    learning_rate: float = 1e-3
    gamma: float = 0.9
    batch_size: int = 64
    buffer_size: int = 20_000
    learning_starts: int = 200
    train_freq: int = 4
    target_update_interval: int = 250
    exploration_fraction: float = 0.5
    exploration_final_eps: float = 0.05
    width: int = 32
    steps: int = 10_000

    def __post_init__(self) -> None:
        if self.width < 1 or self.steps < 1:
            raise ValueError(
                f"width is {self.width} and steps {self.steps}: both must be at least 1"
            )


@register("dqn", DQNConfig)
class DQN(Memoryless):
    """One network for all seats. `layers`: weight (out, in) and bias (out,) of each."""

    name = "dqn"

    def __init__(self, config: DQNConfig) -> None:
        self.config = config
        self.layers: list[tuple[Floats, Floats]] = []

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:  # noqa: ARG002
        best: Actions = self.values(features).argmax(axis=-1).astype(np.int8)
        return best

    def values(self, features: Floats) -> Floats:
        if not self.layers:
            raise AgentError("This DQN has not been trained. Give it a trained policy file.")
        at = scaled(features)
        for place, (weight, bias) in enumerate(self.layers):
            at = at @ weight.T + bias
            if place < len(self.layers) - 1:
                at = np.maximum(at, 0.0)
        return at

    def train(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        """Train the network.

        Raises:
            AgentError: stable-baselines3 is not installed.
        """
        try:
            import stable_baselines3 as sb3
        except ImportError as error:
            raise AgentError(
                f"dqn needs {error.name}. Run: pip install 'rescind[agents]'"
            ) from error
        it = self.config
        agent = sb3.DQN(
            "MlpPolicy",
            scale(environment),
            learning_rate=it.learning_rate,
            gamma=it.gamma,
            batch_size=it.batch_size,
            buffer_size=it.buffer_size,
            learning_starts=it.learning_starts,
            train_freq=it.train_freq,
            target_update_interval=it.target_update_interval,
            exploration_fraction=it.exploration_fraction,
            exploration_final_eps=it.exploration_final_eps,
            policy_kwargs={"net_arch": [it.width, it.width]},
            seed=seed,
            device="cpu",
        )
        agent.learn(it.steps)
        self.take(agent.q_net.state_dict())

    def take(self, weights: dict[str, Any]) -> None:
        """From a stable-baselines3 Q network's state_dict."""
        names = sorted({int(name.split(".")[1]) for name in weights})
        self.layers = [
            (
                weights[f"q_net.{n}.weight"].cpu().numpy().astype(np.float64),
                weights[f"q_net.{n}.bias"].cpu().numpy().astype(np.float64),
            )
            for n in names
        ]

    def state(self, seat: int = 0) -> dict[str, Any]:  # noqa: ARG002
        return {"layers": [[weight.tolist(), bias.tolist()] for weight, bias in self.layers]}

    def restore(self, state: dict[str, Any]) -> None:
        layers = [
            (np.asarray(w, dtype=np.float64), np.asarray(b, dtype=np.float64))
            for w, b in state["layers"]
        ]
        width = len(FEATURES)
        for weight, bias in layers:
            if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
                raise ValueError(f"a layer of shape {weight.shape} does not follow one of {width}")
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                raise ValueError("a layer's weights are not numbers")
            width = weight.shape[0]
        if width != self._place.open_actions:
            raise ValueError(
                f"the network values {width} actions, but {self._place.open_actions} are open"
            )
        self.layers = layers


def scaled(features: Floats) -> Floats:
    """Of about one in size: turnout, share against an equal one, quality, price against an equal share
    of the reward, the reward in ether, budget spent, and the logarithm of the number of members.
    """
    members = np.maximum(1.0, features[..., N_MEMBERS])
    equal = features[..., N_AVAILABLE] / members
    return np.stack(
        [
            features[..., N_PARTICIPANTS] / members,
            np.minimum(3.0, features[..., N_SHARE] * features[..., N_PARTICIPANTS]),
            features[..., N_QUALITY],
            np.minimum(3.0, features[..., N_PRICE] / np.maximum(equal, 1e-9)),
            np.minimum(3.0, features[..., N_AVAILABLE]),
            features[..., N_SPENT],
            np.log10(members),
        ],
        axis=-1,
    )


def scale(environment: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """`environment` with its observations scaled."""
    from gymnasium.spaces import Box
    from gymnasium.wrappers import TransformObservation

    return TransformObservation(
        environment,
        lambda seen: scaled(np.asarray(seen, dtype=np.float64)).astype(np.float32),
        Box(0.0, 10.0, shape=(len(FEATURES),), dtype=np.float32),
    )
