from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Description(_message.Message):
    __slots__ = ("parameters_id", "chain_id", "rounds_address", "model")
    PARAMETERS_ID_FIELD_NUMBER: _ClassVar[int]
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    parameters_id: bytes
    chain_id: int
    rounds_address: str
    model: ModelFiles
    def __init__(self, parameters_id: _Optional[bytes] = ..., chain_id: _Optional[int] = ..., rounds_address: _Optional[str] = ..., model: _Optional[_Union[ModelFiles, _Mapping]] = ...) -> None: ...

class ModelFiles(_message.Message):
    __slots__ = ("model_id", "adapter_id", "opening_id")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_ID_FIELD_NUMBER: _ClassVar[int]
    OPENING_ID_FIELD_NUMBER: _ClassVar[int]
    model_id: int
    adapter_id: bytes
    opening_id: bytes
    def __init__(self, model_id: _Optional[int] = ..., adapter_id: _Optional[bytes] = ..., opening_id: _Optional[bytes] = ...) -> None: ...

class WantedRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SizedArtifact(_message.Message):
    __slots__ = ("artifact_id", "size")
    ARTIFACT_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    artifact_id: bytes
    size: int
    def __init__(self, artifact_id: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class Held(_message.Message):
    __slots__ = ("bytes",)
    BYTES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    def __init__(self, bytes: _Optional[int] = ...) -> None: ...

class Piece(_message.Message):
    __slots__ = ("artifact_id", "offset", "data")
    ARTIFACT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    artifact_id: bytes
    offset: int
    data: bytes
    def __init__(self, artifact_id: _Optional[bytes] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class CopiedPiece(_message.Message):
    __slots__ = ("artifact_id", "offset", "length", "source_id")
    ARTIFACT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    artifact_id: bytes
    offset: int
    length: int
    source_id: bytes
    def __init__(self, artifact_id: _Optional[bytes] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., source_id: _Optional[bytes] = ...) -> None: ...

class PieceRequest(_message.Message):
    __slots__ = ("artifact_id", "offset", "length")
    ARTIFACT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    artifact_id: bytes
    offset: int
    length: int
    def __init__(self, artifact_id: _Optional[bytes] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class ServedPiece(_message.Message):
    __slots__ = ("data", "size")
    DATA_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    size: int
    def __init__(self, data: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class SignedUpdate(_message.Message):
    __slots__ = ("round_id", "artifact", "nonce", "signature", "part")
    ROUND_ID_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    round_id: int
    artifact: SizedArtifact
    nonce: int
    signature: bytes
    part: int
    def __init__(self, round_id: _Optional[int] = ..., artifact: _Optional[_Union[SizedArtifact, _Mapping]] = ..., nonce: _Optional[int] = ..., signature: _Optional[bytes] = ..., part: _Optional[int] = ...) -> None: ...

class SignedFisher(_message.Message):
    __slots__ = ("round_id", "artifact", "signature")
    ROUND_ID_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    round_id: int
    artifact: SizedArtifact
    signature: bytes
    def __init__(self, round_id: _Optional[int] = ..., artifact: _Optional[_Union[SizedArtifact, _Mapping]] = ..., signature: _Optional[bytes] = ...) -> None: ...

class SignedOffer(_message.Message):
    __slots__ = ("offer_id", "round_id", "artifact", "report", "signature")
    OFFER_ID_FIELD_NUMBER: _ClassVar[int]
    ROUND_ID_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    offer_id: int
    round_id: int
    artifact: SizedArtifact
    report: bytes
    signature: bytes
    def __init__(self, offer_id: _Optional[int] = ..., round_id: _Optional[int] = ..., artifact: _Optional[_Union[SizedArtifact, _Mapping]] = ..., report: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class ReplayRound(_message.Message):
    __slots__ = ("replay_id", "round_id")
    REPLAY_ID_FIELD_NUMBER: _ClassVar[int]
    ROUND_ID_FIELD_NUMBER: _ClassVar[int]
    replay_id: int
    round_id: int
    def __init__(self, replay_id: _Optional[int] = ..., round_id: _Optional[int] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("artifact_id",)
    ARTIFACT_ID_FIELD_NUMBER: _ClassVar[int]
    artifact_id: bytes
    def __init__(self, artifact_id: _Optional[bytes] = ...) -> None: ...

class ArtifactId(_message.Message):
    __slots__ = ("artifact_id",)
    ARTIFACT_ID_FIELD_NUMBER: _ClassVar[int]
    artifact_id: bytes
    def __init__(self, artifact_id: _Optional[bytes] = ...) -> None: ...

class ArtifactIds(_message.Message):
    __slots__ = ("artifact_ids",)
    ARTIFACT_IDS_FIELD_NUMBER: _ClassVar[int]
    artifact_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, artifact_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ModelId(_message.Message):
    __slots__ = ("model_id",)
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    model_id: int
    def __init__(self, model_id: _Optional[int] = ...) -> None: ...

class CheckpointRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LogCheckpoint(_message.Message):
    __slots__ = ("note", "key")
    NOTE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    note: str
    key: str
    def __init__(self, note: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class DisclosureRequest(_message.Message):
    __slots__ = ("index", "time", "signature")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    index: int
    time: int
    signature: bytes
    def __init__(self, index: _Optional[int] = ..., time: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...

class DisclosureFile(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: bytes
    def __init__(self, document: _Optional[bytes] = ...) -> None: ...

class LogKey(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class SeenSize(_message.Message):
    __slots__ = ("size",)
    SIZE_FIELD_NUMBER: _ClassVar[int]
    size: int
    def __init__(self, size: _Optional[int] = ...) -> None: ...

class CosignRequest(_message.Message):
    __slots__ = ("note", "key", "old_size", "proof")
    NOTE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    OLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    note: str
    key: str
    old_size: int
    proof: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, note: _Optional[str] = ..., key: _Optional[str] = ..., old_size: _Optional[int] = ..., proof: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Cosignature(_message.Message):
    __slots__ = ("line", "key")
    LINE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    line: str
    key: str
    def __init__(self, line: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...
