"""Taking contributions back."""

from unlearning.removal import Removal, remove

__all__ = ["Removal", "remove"]
