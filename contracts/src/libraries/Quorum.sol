// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IMembers} from "../interfaces/IMembers.sol";

/// @title Signatures of enough auditors.
library Quorum {
    error NotAuditor(address signer);
    error SignersNotAscending(address signer);
    error QuorumMissing(uint256 given, uint256 required);

    /// @notice Return the signers of a hash. Revert unless they are enough auditors, each once.
    /// @param members Where auditors are named.
    /// @param quorum How many are needed.
    /// @param hash EIP-712 hash of what they attest.
    /// @param signatures Their signatures, ascending by signer.
    function require_(IMembers members, uint256 quorum, bytes32 hash, bytes[] calldata signatures)
        internal
        view
        returns (address[] memory signers)
    {
        if (signatures.length < quorum) revert QuorumMissing(signatures.length, quorum);
        signers = new address[](signatures.length);
        address previous = address(0);
        for (uint256 i = 0; i < signatures.length; ++i) {
            address signer = ECDSA.recover(hash, signatures[i]);
            if (signer <= previous) revert SignersNotAscending(signer);
            if (!members.isAuditor(signer)) revert NotAuditor(signer);
            signers[i] = previous = signer;
        }
    }
}
