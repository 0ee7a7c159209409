// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MemberId, ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {IGovernance} from "../src/interfaces/IGovernance.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IReplays} from "../src/interfaces/IReplays.sol";
import {IRewards} from "../src/interfaces/IRewards.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Published} from "./Published.sol";

/// @dev Gas of single transactions, kept in contracts/snapshots. Refunds are not taken off. What a transaction costs before
/// its first instruction is: the bytes of its calldata are kept instead, and scripts/gas_table.py puts both together.
/// forge-config: default.isolate = true
/// forge-config: quick.isolate = true
contract GasTest is Published {
    OfferId private constant NONE = OfferId.wrap(0);

    function measure(string memory name, address from, address to, bytes memory data) private {
        (uint256 execution, uint256 nonzero, uint256 zero) = send(from, to, data);
        vm.snapshotValue("Execution", name, execution);
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
            this.addRound();
        }
    }

    /// @dev In a call of its own, so that a long history does not run out of memory.
    function addRound() external {
        RoundId round = revealed(orgs);
        judge(round);
        sumUp(NONE, round, 100);
        foldAll(models.head());
    }

    function test_gas_of_a_contribution() public {
        history(Weights.Rule.Block, 8, 1);
        measuredContribution("contribution");
        measure("reward of one round: claim", orgs[4], address(rewards), abi.encodeCall(IRewards.claim, singleRound(1)));
    }

    function test_gas_of_a_contribution_with_statistics() public {
        Weights.Rule[] memory both = new Weights.Rule[](2);
        (both[0], both[1]) = (Weights.Rule.Block, Weights.Rule.Latest);
        deployAll(both, false, 8);
        this.addRound();
        measuredContribution("contribution of two parts");
    }

    function test_gas_of_sitting_out() public {
        history(Weights.Rule.Block, 8, 1);
        RoundId round = open();
        measure("sitting out: sitOut", orgs[4], address(rounds), abi.encodeCall(IRounds.sitOut, round));
    }

    function singleRound(uint16 number) private pure returns (RoundId[] memory one) {
        one = new RoundId[](1);
        one[0] = RoundId.wrap(number);
    }

    function measuredContribution(string memory name) private {
        RoundId round = open();
        for (uint256 i = 0; i < 4; ++i) {
            commitAs(round, orgs[i]);
        }
        (bytes32[] memory ids, bytes memory points) = contributionOf(round, orgs[4]);
        bytes32 hash = keccak256(abi.encode(round, orgs[4], ids, keccak256(points), MANIFEST, SALT));
        measure(join2(name, ": commit"), orgs[4], address(rounds), abi.encodeCall(IRounds.commit, (round, hash)));
        pass(PHASE + 1);
        rounds.closeCommits(round);
        for (uint256 i = 0; i < 4; ++i) {
            revealAs(round, orgs[i]);
        }
        measure(
            join2(name, ": reveal"),
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
        ask("audit: contentOf (400 places)", abi.encodeCall(IModels.contentOf, (ModelId.wrap(30), 0, 1 << 32, 400)));
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
