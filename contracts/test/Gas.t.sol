// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Governance} from "../src/Governance.sol";
import {Members} from "../src/Members.sol";
import {Models} from "../src/Models.sol";
import {Replays} from "../src/Replays.sol";
import {Rewards} from "../src/Rewards.sol";
import {Rounds} from "../src/Rounds.sol";
import {MemberId, ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {Withdrawals} from "../src/Withdrawals.sol";
import {IGovernance} from "../src/interfaces/IGovernance.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IReplays} from "../src/interfaces/IReplays.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Vm} from "./Cheats.sol";
import {Fixture} from "./Fixture.sol";

/// @dev Gas of single transactions, kept in contracts/snapshots. A call that is measured runs as a transaction of its own
/// (isolate), so that storage is cold; refunds are not taken off. What a transaction costs before its first instruction
/// is: the bytes of its calldata are kept instead, and scripts/gas_table.py puts both together.
/// forge-config: default.isolate = true
/// forge-config: quick.isolate = true
contract GasTest is Fixture {
    OfferId private constant NONE = OfferId.wrap(0);

    /// @dev What is measured is what is deployed: the published artifacts.
    function deployContracts() internal override {
        uint64 nonce = vm.getNonce(address(this));
        address[7] memory at_;
        for (uint256 i = 0; i < 7; ++i) {
            at_[i] = vm.computeCreateAddress(address(this), nonce + i);
        }
        bytes memory terms = abi.encode(BOND, AGGREGATOR_BOND, PENALTY, EXIT, uint16(5_000), uint16(1_024));
        create("Members", bytes.concat(abi.encode(at_[5], at_[1], at_[3], at_[6], aggregator), terms), 0);
        IRounds.Settings memory settings = IRounds.Settings(
            bytes32(uint256(1)), bytes32(uint256(2)), rules, chained, attested, maxRounds, PHASE, PHASE, PHASE
        );
        create("Rounds", abi.encode(at_[0], at_[2], at_[4], at_[6], quorum, settings), 0);
        create("Models", abi.encode(at_[0], at_[1], at_[3], at_[4], rules, chained), 0);
        bytes memory times = abi.encode(PREPARATION, ATTESTATION, quorum);
        create("Withdrawals", bytes.concat(abi.encode(at_[0], at_[1], at_[2], at_[4], at_[5], chained), times), 0);
        create("Replays", abi.encode(at_[0], at_[1], at_[2], at_[3], REPLAY, PRICE), 0);
        create("Governance", abi.encode(at_[0], at_[3], uint16(5_000), uint40(1 days)), 0);
        create("Rewards", abi.encode(at_[0], at_[1], REWARD, EXIT), POOL);
        members = Members(at_[0]);
        rounds = Rounds(at_[1]);
        models = Models(at_[2]);
        withdrawals = Withdrawals(at_[3]);
        replays = Replays(at_[4]);
        governance = Governance(at_[5]);
        rewards = Rewards(at_[6]);
    }

    function create(string memory name, bytes memory arguments, uint256 value) private {
        string memory json = vm.readFile(string.concat("contracts/artifacts/", name, ".json"));
        bytes memory code = vm.parseBytes(string.concat("0x", vm.parseJsonString(json, ".bytecode")));
        code = bytes.concat(code, arguments);
        address made;
        assembly ("memory-safe") {
            made := create(value, add(code, 32), mload(code))
        }
        vm.assertTrue(made != address(0), name);
    }

    function measure(string memory name, address from, address to, bytes memory data) private {
        uint256 zero = 0;
        for (uint256 i = 0; i < data.length; ++i) {
            if (data[i] == 0) ++zero;
        }
        uint256 nonzero = data.length - zero;
        vm.prank(from);
        (bool done, bytes memory why) = to.call(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(why, 32), mload(why))
            }
        }
        Vm.Gas memory gas = vm.lastCallGas();
        uint256 used = gas.gasTotalUsed + uint64(gas.gasRefunded);
        uint256 standard = 21_000 + 16 * nonzero + 4 * zero;
        // Where the floor of the calldata is charged, what was executed is not known: it is less.
        vm.snapshotValue("Execution", name, used > standard ? used - standard : 0);
        vm.snapshotValue("CalldataNonzero", name, nonzero);
        vm.snapshotValue("CalldataZero", name, zero);
    }

    function ask(string memory name, bytes memory data) private {
        uint256 before = gasleft();
        (bool done,) = address(models).staticcall(data);
        vm.assertTrue(done);
        vm.snapshotValue("Execution", name, before - gasleft());
        vm.snapshotValue("CalldataNonzero", name, 0);
        vm.snapshotValue("CalldataZero", name, 0);
    }

    function join2(string memory a, string memory b) private pure returns (string memory) {
        return string.concat(a, b);
    }

    function measuredRound(string memory name, uint256 count) private {
        measure(join2(name, ": open"), aggregator, address(rounds), abi.encodeCall(IRounds.open, ()));
        RoundId round = rounds.currentRound();
        for (uint256 i = 0; i < count; ++i) {
            commitAs(round, orgs[i]);
        }
        measure(join2(name, ": closeCommits"), aggregator, address(rounds), abi.encodeCall(IRounds.closeCommits, round));
        for (uint256 i = 0; i < count; ++i) {
            revealAs(round, orgs[i]);
        }
        measure(join2(name, ": closeReveals"), aggregator, address(rounds), abi.encodeCall(IRounds.closeReveals, round));
        uint256[4] memory set = rounds.answersOf(round).revealed;
        bytes memory scores;
        for (uint256 i = 0; i < count; ++i) {
            scores = abi.encodePacked(scores, uint16(5_000));
        }
        measure(
            join2(name, ": judge"), aggregator, address(rounds), abi.encodeCall(IRounds.judge, (round, set, scores, ""))
        );
        bytes memory all = nextSummands(NONE, round, 0, 0, count);
        bytes memory start = new bytes(128);
        learnSum(start, all);
        measure(
            join2(name, ": sum"), aggregator, address(models), abi.encodeCall(IModels.sum, (NONE, round, start, all))
        );
        measuredFold(join2(name, ": fold"));
    }

    function measuredFold(string memory name) private {
        ModelId source = models.head();
        (bytes memory carried, bytes memory points) = nextFold(source, 1_000);
        measure(name, aggregator, address(models), abi.encodeCall(IModels.fold, (source, carried, points)));
        vm.assertTrue(ModelId.unwrap(models.head()) > ModelId.unwrap(source));
        check();
    }

    function measuredRemoval(string memory name, uint256 i) private {
        measure(
            join2(name, ": request"),
            orgs[i],
            address(withdrawals),
            abi.encodeCall(IWithdrawals.request, IWithdrawals.Method.Removal)
        );
        measuredFold(join2(name, ": fold"));
        WithdrawalId id = WithdrawalId.wrap(withdrawals.count());
        measure(join2(name, ": close"), aggregator, address(withdrawals), abi.encodeCall(IWithdrawals.close, id));
    }

    function history(Weights.Rule rule, uint256 count, uint256 length) private {
        deployAll(rule, count);
        for (uint256 i = 0; i < length; ++i) {
            RoundId round = revealed(orgs);
            judge(round);
            sumUp(NONE, round, 100);
            foldAll(models.head());
        }
    }

    function test_gas_of_a_contribution() public {
        history(Weights.Rule.Block, 8, 1);
        RoundId round = open();
        for (uint256 i = 0; i < 4; ++i) {
            commitAs(round, orgs[i]);
        }
        (bytes32[] memory ids, bytes memory points) = contributionOf(round, orgs[4]);
        bytes32 hash = keccak256(abi.encode(round, orgs[4], ids, keccak256(points), MANIFEST, SALT));
        measure("contribution: commit", orgs[4], address(rounds), abi.encodeCall(IRounds.commit, (round, hash)));
        pass(PHASE + 1);
        rounds.closeCommits(round);
        for (uint256 i = 0; i < 4; ++i) {
            revealAs(round, orgs[i]);
        }
        measure(
            "contribution: reveal",
            orgs[4],
            address(rounds),
            abi.encodeCall(IRounds.reveal, (round, ids, points, MANIFEST, SALT))
        );
    }

    function test_gas_of_rounds() public {
        history(Weights.Rule.Block, 4, 1);
        measuredRound("round of 4, blocks", 4);
        delete orgs;
        delete auditorKeys;
        history(Weights.Rule.Share, 16, 1);
        measuredRound("round of 16, shared", 16);
    }

    function test_gas_of_a_long_history_in_blocks() public {
        history(Weights.Rule.Block, 64, 29);
        measuredRound("round of 64, blocks", 64);
        ask("audit: isClean", abi.encodeCall(IModels.isClean, (ModelId.wrap(30), MemberId.wrap(7))));
        ask(
            "audit: modelsContaining (30 models)",
            abi.encodeCall(IModels.modelsContaining, (MemberId.wrap(7), ModelId.wrap(1), 30))
        );
        ask(
            "audit: contentOf (64 x 10 contributions)",
            abi.encodeCall(IModels.contentOf, (ModelId.wrap(30), 0, RoundId.wrap(1), 10))
        );
        measuredRemoval("removal from 64 x 30, blocks", 1);
        measuredReplacement("replacement in 63 x 30, blocks", 2);
    }

    function test_gas_of_a_long_history_in_a_shared_layout() public {
        history(Weights.Rule.Share, 64, 29);
        measuredRound("round of 64, shared", 64);
        measuredRemoval("removal from 64 x 30, shared", 1);
    }

    function measuredReplacement(string memory name, uint256 i) private {
        address to = address(withdrawals);
        measure(
            join2(name, ": request"),
            orgs[i],
            to,
            abi.encodeCall(IWithdrawals.requestForSubject, (SALT, IWithdrawals.Method.Replacement))
        );
        WithdrawalId id = WithdrawalId.wrap(withdrawals.count());
        (bytes32[] memory ids, bytes memory points) = fresh();
        measure(
            join2(name, ": offer"),
            orgs[i],
            to,
            abi.encodeCall(IWithdrawals.offer, (id, RoundId.wrap(3), ids, points, MANIFEST))
        );
        measure(join2(name, ": ready"), orgs[i], to, abi.encodeCall(IWithdrawals.ready, id));
        measuredFold(join2(name, ": fold"));
        measure(join2(name, ": close"), aggregator, to, abi.encodeCall(IWithdrawals.close, id));
    }

    function test_gas_of_an_expulsion() public {
        history(Weights.Rule.Block, 4, 1);
        bytes memory data = abi.encodeCall(IWithdrawals.expel, orgs[3]);
        address to = address(governance);
        measure("expulsion: propose", orgs[0], to, abi.encodeCall(IGovernance.propose, (address(withdrawals), data)));
        measure("expulsion: vote", orgs[1], to, abi.encodeCall(IGovernance.vote, (1)));
        vm.prank(orgs[2]);
        governance.vote(1);
        measure("expulsion: execute", orgs[0], to, abi.encodeCall(IGovernance.execute, (1)));
    }

    function test_gas_of_a_replay() public {
        history(Weights.Rule.Share, 16, 2);
        vm.prank(orgs[0]);
        withdrawals.request{value: PRICE}(IWithdrawals.Method.Replay);
        refold();
        address to = address(replays);
        string memory name = "replay round of 16";
        measure(join2(name, ": start"), aggregator, to, abi.encodeCall(IReplays.start, ()));
        RoundId round = RoundId.wrap(2);
        for (uint256 i = 1; i < 16; ++i) {
            (bytes32[] memory ids, bytes memory points) = fresh();
            bytes memory data = abi.encodeCall(IReplays.offer, (round, ids, points, MANIFEST));
            if (i == 15) {
                measure(join2(name, ": offer"), orgs[i], to, data);
                break;
            }
            vm.prank(orgs[i]);
            replays.offer(round, ids, points, MANIFEST);
        }
        measure(join2(name, ": advance"), aggregator, to, abi.encodeCall(IReplays.advance, ()));
        OfferId replay = replays.current();
        bytes memory all = nextSummands(replay, round, 0, 0, 16);
        bytes memory start = new bytes(128);
        learnSum(start, all);
        measure(
            join2(name, ": sum"), aggregator, address(models), abi.encodeCall(IModels.sum, (replay, round, start, all))
        );
        measuredFold(join2(name, ": fold"));
    }
}
