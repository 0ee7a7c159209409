// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

contract GasTrialTest is Fixture {
    event log_named_uint(string name, uint256 value);

    function charge(string memory name, bytes memory data) internal {
        uint256 n = 0;
        for (uint256 i = 0; i < data.length; ++i) {
            if (data[i] != 0) ++n;
        }
        uint256 z = data.length - n;
        uint256 execution = vm.lastCallGas().gasTotalUsed;
        uint256 standard = 21_000 + 16 * n + 4 * z + execution;
        uint256 floor_ = 21_000 + 40 * n + 10 * z;
        emit log_named_uint(name, standard > floor_ ? standard : floor_);
    }

    function one(Weights.Rule rule, uint256 count, uint256 history) internal {
        deployAll(rule, count);
        for (uint256 i = 0; i < history; ++i) {
            playRound();
        }
        RoundId round = open();
        charge("open", abi.encodeCall(rounds.open, ()));
        for (uint256 i = 0; i < count; ++i) {
            (bytes32[] memory ids, bytes memory points) = contributionOf(round, orgs[i]);
            bytes32 hash = keccak256(abi.encode(round, orgs[i], ids, keccak256(points), MANIFEST, SALT));
            vm.prank(orgs[i]);
            rounds.commit(round, hash);
            if (i == 5) charge("commit", abi.encodeCall(rounds.commit, (round, keccak256("x"))));
        }
        rounds.closeCommits(round);
        charge("closeCommits", abi.encodeCall(rounds.closeCommits, (round)));
        for (uint256 i = 0; i < count; ++i) {
            (bytes32[] memory ids, bytes memory points) = contributionOf(round, orgs[i]);
            vm.prank(orgs[i]);
            rounds.reveal(round, ids, points, MANIFEST, SALT);
            if (i == 5) {
                charge("reveal", abi.encodeCall(rounds.reveal, (round, ids, points, MANIFEST, keccak256("s"))));
            }
        }
        rounds.closeReveals(round);
        charge("closeReveals", abi.encodeCall(rounds.closeReveals, (round)));
        uint256[4] memory set = rounds.answersOf(round).revealed;
        bytes memory scores;
        for (uint256 i = 0; i < count; ++i) {
            scores = abi.encodePacked(scores, uint16(5_000));
        }
        vm.prank(aggregator);
        rounds.judge(round, set, scores, "");
        charge("judge", abi.encodeCall(rounds.judge, (round, set, scores, "")));
        bytes memory all = nextSummands(OfferId.wrap(0), round, 0, 0, count);
        learnSum(new bytes(128), all);
        models.sum(OfferId.wrap(0), round, new bytes(128), all);
        charge("sum", abi.encodeCall(models.sum, (OfferId.wrap(0), round, new bytes(128), all)));
        ModelId parent = models.head();
        bytes memory start = pointOf[PointHash.unwrap(models.commitmentOf(parent, 0))];
        IModels.Term[] memory added = models.termsOf(parent, uint32(RoundId.unwrap(round)));
        bytes memory whole = pointOf[PointHash.unwrap(added[0].point)];
        uint256 scalar = addmod(
            scalarOf[keccak256(start)],
            mulmod(
                scalarOf[keccak256(whole)],
                uint256(added[0].coefficient),
                0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001
            ),
            0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001
        );
        learn(multiple(scalar), scalar);
        models.fold(parent, start, whole);
        charge("fold", abi.encodeCall(models.fold, (parent, start, whole)));
        WithdrawalId id;
        vm.prank(orgs[1]);
        id = withdrawals.request(IWithdrawals.Method.Removal);
        charge("request", abi.encodeCall(withdrawals.request, (IWithdrawals.Method.Removal)));
        ModelId source = models.head();
        bytes memory carried = pointOf[PointHash.unwrap(models.commitmentOf(source, 0))];
        bytes memory removed;
        for (uint32 row = 0; row < models.rowsOf(source); ++row) {
            IModels.Term[] memory terms = models.termsOf(source, row);
            for (uint256 i = 0; i < terms.length; ++i) {
                removed = bytes.concat(removed, pointOf[PointHash.unwrap(terms[i].point)]);
            }
        }
        models.fold(source, carried, removed);
        charge("fold removal", abi.encodeCall(models.fold, (source, carried, removed)));
        withdrawals.close(id);
        charge("close", abi.encodeCall(withdrawals.close, (id)));
    }

    function test_blocks_64() public {
        one(Weights.Rule.Block, 64, 29);
    }

    function test_shared_64() public {
        one(Weights.Rule.Share, 64, 29);
    }
}
