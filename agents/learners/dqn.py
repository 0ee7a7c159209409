"""DQN (Mnih et al. 2015, doi 10.1038/nature14236), trained by stable-baselines3.

The network is a multilayer perceptron on scaled observations. Its weights are copied out, so that a
node decides without torch. A DQN policy does not continue to learn in a node.
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
    N_POSTED,
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
    """Settings of DQN, named as in stable-baselines3 except for the last two.

    Attributes:
        learning_rate: Step size of Adam.
        gamma: Discount of the next round.
        batch_size: Transitions in a gradient step.
        buffer_size: Transitions in the replay buffer.
        learning_starts: Rounds before the first gradient step.
        train_freq: Rounds between gradient steps.
        target_update_interval: Rounds between copies to the target network.
        exploration_fraction: Share of the training over which exploration falls.
        exploration_final_eps: Chance to explore after that.
        width: Units of each of the two hidden layers.
        steps: Rounds of training.
    """

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
    """A Q network, the same for all seats.

    Args:
        config: Its settings.

    Attributes:
        config: Its settings.
        layers: Weight (out, in) and bias (out,) of each layer; empty before training.
    """

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
        values = scaled(features)
        for number, (weight, bias) in enumerate(self.layers, 1):
            values = values @ weight.T + bias
            # ReLU after every layer but the last, as in stable-baselines3's MlpPolicy.
            if number < len(self.layers):
                values = np.maximum(values, 0.0)
        return values

    def train(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        """Train the network.

        Args:
            environment: The game as one organization sees it, unscaled.
            seed: Seed of stable-baselines3.

        Raises:
            AgentError: stable-baselines3 is not installed.
        """
        try:
            import stable_baselines3 as sb3
            from stable_baselines3.common.logger import Logger
        except ImportError as error:
            raise AgentError(
                f"dqn needs {error.name}. Run: pip install 'rescind[agents]'"
            ) from error
        config = self.config
        agent = sb3.DQN(
            "MlpPolicy",
            scale(environment),
            learning_rate=config.learning_rate,
            gamma=config.gamma,
            batch_size=config.batch_size,
            buffer_size=config.buffer_size,
            learning_starts=config.learning_starts,
            train_freq=config.train_freq,
            target_update_interval=config.target_update_interval,
            exploration_fraction=config.exploration_fraction,
            exploration_final_eps=config.exploration_final_eps,
            policy_kwargs={"net_arch": [config.width, config.width]},
            seed=seed,
            device="cpu",
        )
        # The default logger leaves a folder for temporary files behind, even where it logs nothing.
        agent.set_logger(Logger(folder=None, output_formats=[]))
        agent.learn(config.steps)
        self.take(agent.q_net.state_dict())

    def take(self, weights: dict[str, Any]) -> None:
        """Copy the layers of a stable-baselines3 Q network.

        Args:
            weights: Its state_dict, with keys "q_net.N.weight" and "q_net.N.bias".
        """
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
                raise ValueError(
                    f"a layer has weights of shape {weight.shape}, but takes {width} inputs"
                )
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                raise ValueError("a layer has weights that are not finite")
            width = weight.shape[0]
        if width != self._seating.open_actions:
            raise ValueError(
                f"the network values {width} actions, but {self._seating.open_actions} are open"
            )
        self.layers = layers


def scaled(features: Floats) -> Floats:
    """Return features scaled to about one, which networks need to learn well.

    In order: turnout; share of the last reward relative to an equal one; quality; price relative to
    an equal share of the reward; the round's reward in ether; spent share of the privacy budget;
    the decimal logarithm of the number of members; and the share of the rows that is posted. Ratios
    are cut at 3, so that rare ones do not dominate.

    Args:
        features: float64 (..., FEATURES).

    Returns:
        float64, same shape.
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
            features[..., N_POSTED],
        ],
        axis=-1,
    )


def scale(environment: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Return the environment with its observations scaled by `scaled`."""
    from gymnasium.spaces import Box
    from gymnasium.wrappers import TransformObservation

    return TransformObservation(
        environment,
        lambda seen: scaled(np.asarray(seen, dtype=np.float64)).astype(np.float32),
        Box(0.0, 10.0, shape=(len(FEATURES),), dtype=np.float32),
    )
