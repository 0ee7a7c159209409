// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Identifiers. Values of different types cannot be mixed up, and cost no gas.

/// @notice Number of a model, from 1; 0 is the base model alone.
type ModelId is uint64;

/// @notice Number of a round, from 1; 0 stands for the counter-deltas of a model.
type RoundId is uint64;

/// @notice Number of a withdrawal, from 1.
type WithdrawalId is uint64;

/// @notice Number of a member in order of joining, from 0 to 1,023: its place in every bitmap.
type MemberId is uint16;

/// @notice The source of a point outside rounds: a withdrawal's number, or a replay's with the highest bit set.
type OfferId is uint64;

/// @notice SHA-256 of an artifact's canonical bytes, as its publisher states it.
type ArtifactId is bytes32;

/// @notice keccak256 of the 128 bytes of a point of BLS12-381 G1, as EIP-2537 encodes it.
type PointHash is bytes32;

using {eqModel as ==, neqModel as !=} for ModelId global;
using {eqRound as ==, neqRound as !=, lteRound as <=, ltRound as <} for RoundId global;
using {eqArtifact as ==} for ArtifactId global;
using {eqPoint as ==, neqPoint as !=} for PointHash global;

function eqModel(ModelId a, ModelId b) pure returns (bool) {
    return ModelId.unwrap(a) == ModelId.unwrap(b);
}

function neqModel(ModelId a, ModelId b) pure returns (bool) {
    return ModelId.unwrap(a) != ModelId.unwrap(b);
}

function eqRound(RoundId a, RoundId b) pure returns (bool) {
    return RoundId.unwrap(a) == RoundId.unwrap(b);
}

function neqRound(RoundId a, RoundId b) pure returns (bool) {
    return RoundId.unwrap(a) != RoundId.unwrap(b);
}

function lteRound(RoundId a, RoundId b) pure returns (bool) {
    return RoundId.unwrap(a) <= RoundId.unwrap(b);
}

function ltRound(RoundId a, RoundId b) pure returns (bool) {
    return RoundId.unwrap(a) < RoundId.unwrap(b);
}

function eqPoint(PointHash a, PointHash b) pure returns (bool) {
    return PointHash.unwrap(a) == PointHash.unwrap(b);
}

function neqPoint(PointHash a, PointHash b) pure returns (bool) {
    return PointHash.unwrap(a) != PointHash.unwrap(b);
}

function eqArtifact(ArtifactId a, ArtifactId b) pure returns (bool) {
    return ArtifactId.unwrap(a) == ArtifactId.unwrap(b);
}
