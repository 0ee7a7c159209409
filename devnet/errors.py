"""What can go wrong with a consortium on one machine."""

from __future__ import annotations

from adapters.errors import RescindError


class DevnetError(RescindError):
    code = "devnet"


class NodePackagesMissing(DevnetError):
    code = "npm-packages-missing"


class TrainingPackagesMissing(DevnetError):
    code = "training-packages-missing"


class PortInUse(DevnetError):
    code = "port-in-use"


class ProcessDied(DevnetError):
    code = "process-died"


class DeadlinePassed(DevnetError):
    code = "deadline-passed"


class NotARun(DevnetError):
    code = "not-a-run"


class DiskFull(DevnetError):
    code = "disk-full"
