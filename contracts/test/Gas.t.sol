// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILineage} from "../src/interfaces/ILineage.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {Vm} from "./Cheats.sol";
import {Fixture} from "./Fixture.sol";

/// @dev Gas of single transactions, kept in contracts/snapshots. A call that is measured runs as a transaction of its own
/// (isolate), so that storage is cold; refunds are not taken off. What a transaction costs before its first instruction
/// is: the bytes of its calldata are kept instead, and scripts/gas_table.py puts both together.
abstract contract Gas is Fixture {
    /// @dev So many digests fit into one transaction: 40 gas for each of their bytes, 2^24 gas in all.
    uint256 internal constant MOST_DIGESTS = 24;

    mapping(bytes32 => bytes32) private _seedOf;
    mapping(bytes32 => bytes) private _stored;
    mapping(bytes32 => ILineage.Delta) private _delta;

    // Measuring

    function measure(string memory name, address from, address to, bytes memory data) internal {
        measure(name, from, to, data, 0);
    }

    function measure(string memory name, address from, address to, bytes memory data, uint256 value) internal {
        uint256 zero = 0;
        for (uint256 i = 0; i < data.length; ++i) {
            if (data[i] == 0) ++zero;
        }
        uint256 nonzero = data.length - zero;
        vm.prank(from);
        (bool done, bytes memory why) = to.call{value: value}(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(why, 32), mload(why))
            }
        }
        Vm.Gas memory gas = vm.lastCallGas();
        uint256 used = gas.gasTotalUsed + uint64(gas.gasRefunded);
        vm.snapshotValue("Execution", name, used - 21_000 - 16 * nonzero - 4 * zero);
        vm.snapshotValue("CalldataNonzero", name, nonzero);
        vm.snapshotValue("CalldataZero", name, zero);
    }

    /// @dev Proves the claim in as many transactions as it takes.
    function measureProof(string memory name) internal {
        bytes[] memory digests = termBytes();
        int256[] memory coefficients = _coefficients(digests.length);
        int256[4096] memory sum;
        uint256 start = 0;
        for (uint256 part = 1; start <= digests.length; ++part) {
            bytes memory carried = start == 0 ? bytes("") : _bytesOf(sum);
            uint256 room = MOST_DIGESTS - (start == 0 ? 0 : 1);
            bool last = digests.length - start < room;
            bytes[] memory some = new bytes[](last ? digests.length - start : room);
            for (uint256 i = 0; i < some.length; ++i) {
                some[i] = digests[start];
                _addBytes(sum, digests[start], coefficients[start]);
                ++start;
            }
            bytes memory data = abi.encodeCall(lineage.prove, (carried, some, last ? sourceBytes() : bytes("")));
            measure(string.concat(name, "prove ", vm.toString(part)), aggregator, address(lineage), data);
            if (last) break;
        }
    }

    function _coefficients(uint256 count) private view returns (int256[] memory coefficients) {
        coefficients = new int256[](count);
        uint256 place = 0;
        for (uint256 step = 0; step < lineage.stepCount(); ++step) {
            ILineage.Term[] memory terms = lineage.termsAt(step);
            for (uint256 i = 0; i < terms.length; ++i) {
                coefficients[place++] = terms[i].coefficient;
            }
        }
    }

    // Digests none of whose words is zero

    function deltaOf(uint64 round, address organization) internal override returns (ILineage.Delta memory delta) {
        bytes32 seed = keccak256(abi.encode("delta", round, organization));
        delta = _delta[seed];
        if (delta.digestRoot != 0) return delta;
        delta = ILineage.Delta(keccak256(abi.encode(seed)), root512(_dense(seed)));
        _delta[seed] = delta;
        _seedOf[delta.digestRoot] = seed;
    }

    function bytesOf(bytes32 root) internal view override returns (bytes memory) {
        if (_seedOf[root] != 0) return _dense(_seedOf[root]);
        return _stored[root].length == 0 ? new bytes(16_384) : _stored[root];
    }

    function wordOf(bytes32 root, uint256 index) internal view override returns (bytes32) {
        return leaves(bytesOf(root))[index];
    }

    function pathOf(bytes32 root, uint256 index) internal view override returns (bytes32[9] memory) {
        return path512(bytesOf(root), index);
    }

    function sumOf(ILineage.Contribution[] memory list)
        internal
        override
        returns (ILineage.Delta memory sum, ILineage.Delta memory adapter)
    {
        int256[4096] memory total;
        for (uint256 i = 0; i < list.length; ++i) {
            _addBytes(total, bytesOf(list[i].digestRoot), int256(uint256(list[i].weight)));
        }
        sum = ILineage.Delta(keccak256(abi.encode("sum", ++salts)), _store(_bytesOf(total)));
        _addBytes(total, bytesOf(lineage.model(lineage.head()).digestRoot), 1);
        adapter = ILineage.Delta(keccak256(abi.encode("adapter", ++salts)), _store(_bytesOf(total)));
    }

    /// @dev Of a removal.
    function successor(uint64 id, uint64 source) internal override returns (ILineage.Delta memory) {
        address gone = withdrawals.withdrawal(id).organization;
        int256[4096] memory total;
        for (uint64 round = 1; round <= lineage.model(source).lastRound; ++round) {
            ILineage.Contribution[] memory all = lineage.contributions(round);
            uint256 place = 0;
            for (uint256 i = 0; i < all.length; ++i) {
                if (all[i].organization == gone) continue;
                int256 weight = int256(uint256(weightOf(shared, place++, all.length - 1)));
                _addBytes(total, bytesOf(all[i].digestRoot), weight);
            }
        }
        return ILineage.Delta(keccak256(abi.encode("successor", ++salts)), _store(_bytesOf(total)));
    }

    function _store(bytes memory data) private returns (bytes32 root) {
        root = root512(data);
        _stored[root] = data;
    }

    function _dense(bytes32 seed) private pure returns (bytes memory data) {
        data = new bytes(16_384);
        for (uint256 i = 0; i < 512; ++i) {
            uint256 q = i < 256 ? P1 : P2;
            assembly ("memory-safe") {
                mstore(0, seed)
                mstore(32, i)
                let noise := keccak256(0, 64)
                let word := 0
                for { let j := 0 } lt(j, 256) { j := add(j, 32) } {
                    word := or(word, shl(j, mod(and(shr(j, noise), 0xffffffff), q)))
                }
                mstore(add(data, mul(32, add(i, 1))), word)
            }
        }
    }

    function _addBytes(int256[4096] memory sum, bytes memory data, int256 coefficient) private pure {
        for (uint256 i = 0; i < 4_096; ++i) {
            assembly ("memory-safe") {
                let value := shr(224, mload(add(add(data, 32), mul(4, i))))
                let to := add(sum, mul(32, i))
                mstore(to, add(mload(to), mul(value, coefficient)))
            }
        }
    }

    function _bytesOf(int256[4096] memory sum) private pure returns (bytes memory data) {
        data = new bytes(16_384);
        for (uint256 i = 0; i < 512; ++i) {
            uint256 word = 0;
            for (uint256 j = 0; j < 8; ++j) {
                word = (word << 32) | residue(sum[8 * i + j], i < 256 ? P1 : P2);
            }
            assembly ("memory-safe") {
                mstore(add(data, mul(32, add(i, 1))), word)
            }
        }
    }
}

/// forge-config: default.isolate = true
contract GasTest is Gas {
    function test_gasOfAContribution() public {
        _deploy(false, 0, 4);
        runRound();
        _measureAnswers();
    }

    function test_gasOfACheckedRoundOf4() public {
        _measureChecked(4);
    }

    function test_gasOfACheckedRoundOf16() public {
        _measureChecked(16);
    }

    function test_gasOfACheckedRoundOf64() public {
        _measureChecked(64);
    }

    function test_gasOfAnOptimisticRoundOf4() public {
        _measureOptimistic(4);
    }

    function test_gasOfAnOptimisticRoundOf16() public {
        _measureOptimistic(16);
    }

    function test_gasOfAnOptimisticRoundOf64() public {
        _measureOptimistic(64);
    }

    function test_gasOfAChallengeOf4() public {
        _measureChallenge(4);
    }

    function test_gasOfAChallengeOf64() public {
        _measureChallenge(64);
    }

    function test_gasOfARemovalFromBlocks() public {
        _measureRemoval("blocks", false, 0, 4);
        _measureRemoval("blocks", false, 0, 16);
    }

    function test_gasOfARemovalFromASharedAdapter() public {
        _measureRemoval("shared", true, 0, 4);
        _measureRemoval("shared", true, 0, 16);
    }

    function test_gasOfAnOptimisticRemoval() public {
        _measureRemoval("blocks", false, CHALLENGE, 4);
        _measureRemoval("blocks", false, CHALLENGE, 16);
        _measureRemoval("shared", true, CHALLENGE, 16);
    }

    function test_gasOfAuditViews() public {
        _deploy(false, CHALLENGE, 16);
        for (uint256 i = 0; i < 3; ++i) {
            runRound();
        }
        address to = address(lineage);
        measure("audit: contentOf (48 deltas)", anyone, to, abi.encodeCall(lineage.contentOf, (3, 0, 100)));
        measure(
            "audit: modelsContaining (3 models)",
            anyone,
            to,
            abi.encodeCall(lineage.modelsContaining, (orgs[0], 0, 100))
        );
        measure("audit: isClean", anyone, to, abi.encodeCall(lineage.isClean, (3, orgs[0])));
    }

    function test_gasOfAVoteAndASlash() public {
        _deploy(false, 0, 4);
        requestAs(orgs[0], ILineage.Kind.Removal);
        vm.warp(clock() + WITHDRAWAL + 1);
        measure("overdue withdrawal: slash", anyone, address(withdrawals), abi.encodeCall(withdrawals.slash, (1)));
        bytes memory data = abi.encodeCall(withdrawals.expel, (orgs[3]));
        address to = address(governance);
        measure("expulsion: propose", orgs[1], to, abi.encodeCall(governance.propose, (address(withdrawals), data)));
        measure("expulsion: vote", orgs[2], to, abi.encodeCall(governance.vote, (1)));
        measure("expulsion: execute", anyone, to, abi.encodeCall(governance.execute, (1)));
    }

    function _measureAnswers() private {
        uint64 round = open();
        for (uint256 i = 0; i < orgs.length; ++i) {
            ILineage.Delta memory delta = deltaOf(round, orgs[i]);
            bytes memory data = abi.encodeCall(rounds.commit, (round, commitment(round, orgs[i], delta)));
            measure("contribution: commit", orgs[i], address(rounds), data);
        }
        rounds.closeCommits(round);
        for (uint256 i = 0; i < orgs.length; ++i) {
            ILineage.Delta memory delta = deltaOf(round, orgs[i]);
            bytes memory data =
                abi.encodeCall(rounds.reveal, (round, delta.artifactId, delta.digestRoot, MANIFEST, SALT));
            measure("contribution: reveal", orgs[i], address(rounds), data);
        }
        rounds.closeReveals(round);
        aggregate(round);
    }

    function _toRevealed(string memory name) private returns (uint64 round) {
        round = open();
        for (uint256 i = 0; i < orgs.length; ++i) {
            commitAs(round, orgs[i]);
        }
        rounds.closeCommits(round);
        for (uint256 i = 0; i < orgs.length; ++i) {
            revealAs(round, orgs[i]);
        }
        bytes memory data = abi.encodeCall(rounds.closeReveals, (round));
        measure(string.concat(name, "closeReveals"), anyone, address(rounds), data);
    }

    function _measureSum(string memory name, uint64 round) private {
        ILineage.Contribution[] memory list = acceptable(round);
        (ILineage.Delta memory sum, ILineage.Delta memory adapter) = sumOf(list);
        bytes memory data = abi.encodeCall(rounds.aggregate, (round, list, rejectable(round), sum, adapter));
        measure(string.concat(name, "aggregate"), aggregator, address(rounds), data);
        claimedFor = 0;
    }

    function _measureChecked(uint256 count) private {
        _deploy(false, 0, count);
        string memory name = string.concat("round of ", vm.toString(count), ", checked: ");
        uint64 round = _toRevealed(name);
        _measureSum(name, round);
        measureProof(name);
        assertRound(round, IRounds.State.Final);
    }

    function _measureOptimistic(uint256 count) private {
        _deploy(false, CHALLENGE, count);
        string memory name = string.concat("round of ", vm.toString(count), ", optimistic: ");
        uint64 round = _toRevealed(name);
        _measureSum(name, round);
        vm.warp(lineage.claim().deadline + 1);
        measure(string.concat(name, "settle"), anyone, address(lineage), abi.encodeCall(lineage.settle, ()));
        assertRound(round, IRounds.State.Final);
    }

    /// @dev Of a claim whose sum is right and whose model is not.
    function _measureChallenge(uint256 count) private {
        _deploy(false, CHALLENGE, count);
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        (ILineage.Delta memory sum, ILineage.Delta memory adapter) = sumOf(list);
        adapter.digestRoot = list[0].digestRoot;
        IRounds.Rejection[] memory none = new IRounds.Rejection[](0);
        vm.prank(aggregator);
        rounds.aggregate(round, list, none, sum, adapter);
        (bytes32[] memory words, bytes32[9][] memory siblings) = challengeOf(100);
        bytes memory data = abi.encodeCall(lineage.challenge, (100, words, siblings));
        string memory name = string.concat("challenge of a round of ", vm.toString(count), ": challenge");
        measure(name, anyone, address(lineage), data);
        assertRound(round, IRounds.State.Abandoned);
    }

    function test_gasOfADemandedProof() public {
        _deploy(false, CHALLENGE, 4);
        aggregate(toRevealed());
        vm.deal(anyone, DEPOSIT);
        bytes memory data = abi.encodeCall(lineage.demandProof, ());
        measure("unanswered demand: demandProof", anyone, address(lineage), data, DEPOSIT);
        vm.warp(lineage.claim().deadline + 1);
        data = abi.encodeCall(lineage.dropUnproven, ());
        measure("unanswered demand: dropUnproven", anyone, address(lineage), data);
    }

    function _measureRemoval(string memory kind, bool shared_, uint64 challengeSeconds, uint256 count) private {
        _deploy(shared_, challengeSeconds, count);
        for (uint256 i = 0; i < 3; ++i) {
            runRound();
        }
        string memory name = string.concat("removal from ", vm.toString(count), " x 3, ", kind);
        name = string.concat(name, challengeSeconds == 0 ? ", checked: " : ", optimistic: ");
        address to = address(withdrawals);
        bytes memory data = abi.encodeCall(withdrawals.request, (ILineage.Kind.Removal));
        measure(string.concat(name, "request"), orgs[1], to, data);
        data = abi.encodeCall(withdrawals.carryOut, (1, 3, successor(1, 3), 0, new bytes[](0)));
        measure(string.concat(name, "carryOut"), aggregator, to, data);
        if (challengeSeconds == 0) {
            measureProof(name);
        } else {
            vm.warp(lineage.claim().deadline + 1);
            measure(string.concat(name, "settle"), anyone, address(lineage), abi.encodeCall(lineage.settle, ()));
        }
        measure(string.concat(name, "close"), anyone, to, abi.encodeCall(withdrawals.close, (1)));
        vm.assertTrue(lineage.isClean(lineage.head(), orgs[1]));
    }

    function _deploy(bool shared_, uint64 challengeSeconds, uint256 organizations) private {
        delete orgs;
        delete auditorKeys;
        deployAll(shared_, challengeSeconds, organizations);
    }
}
