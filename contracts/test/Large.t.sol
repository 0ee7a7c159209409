// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MemberId, ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Published} from "./Published.sol";

/// @dev The largest consortium: 1,024 members. Every transaction fits into the limits of Ethereum's nodes.
/// forge-config: default.isolate = true
/// forge-config: quick.isolate = true
contract LargeTest is Published {
    event log_named_uint(string key, uint256 value);

    OfferId private constant NONE = OfferId.wrap(0);
    uint256 private constant MOST_MEMBERS = 1_024;
    /// @dev As the client sends them.
    uint256 private constant POINTS_PER_PIECE = 500;
    /// @dev EIP-7825, and what Geth accepts of a transaction.
    uint256 private constant MOST_GAS = 1 << 24;
    uint256 private constant MOST_BYTES = 128 * 1_024;
    /// @dev A page of an audit query, and how much the client asks for in one.
    uint256 private constant MOST_PAGE_GAS = 10_000_000;
    uint64 private constant CONTENT_PAGE = 400;
    uint64 private constant MODELS_PAGE = 256;

    function fits(string memory name, address from, address to, bytes memory data) private {
        (uint256 execution, uint256 nonzero, uint256 zero) = send(from, to, data);
        uint256 used = 21_000 + 16 * nonzero + 4 * zero + execution;
        uint256 floor = 21_000 + 40 * nonzero + 10 * zero;
        uint256 gas = used > floor ? used : floor;
        emit log_named_uint(name, gas);
        vm.assertLt(gas, MOST_GAS);
        // The envelope of a transaction takes some bytes more.
        vm.assertLt(data.length + 200, MOST_BYTES);
    }

    function toRounds(string memory name, bytes memory data) private {
        fits(name, aggregator, address(rounds), data);
    }

    function asks(string memory name, address to, bytes memory data) private returns (bytes memory answer) {
        uint256 before = gasleft();
        bool done;
        (done, answer) = to.staticcall(data);
        uint256 gas = before - gasleft();
        vm.assertTrue(done);
        emit log_named_uint(name, gas);
        vm.assertLt(gas, MOST_PAGE_GAS);
    }

    /// @dev Ask for the whole content in pages.
    function contentIsAnswered(ModelId model, uint256 contributions) private {
        contentIsAnswered(model, 0, contributions);
    }

    function contentIsAnswered(ModelId model, uint256 part, uint256 contributions) private {
        uint64 next = 0;
        uint256 count = 0;
        do {
            bytes memory data = abi.encodeCall(IModels.contentOf, (model, part, next, CONTENT_PAGE));
            IModels.Entry[] memory page;
            (page, next) = abi.decode(asks("contentOf", address(models), data), (IModels.Entry[], uint64));
            count += page.length;
        } while (next != 0);
        vm.assertEq(count, contributions);
    }

    /// @dev Each in a call of its own, so that memory is freed.
    function commitOne(RoundId round, uint256 i) external {
        commitAs(round, orgs[i]);
    }

    function revealOne(RoundId round, uint256 i) external {
        revealAs(round, orgs[i]);
    }

    function sumOne(RoundId round) external returns (bool) {
        (uint8 part, uint16 done, PointHash carried) = models.summedOf(NONE, round);
        while (part < rules.length && rules[part] == Weights.Rule.Latest) ++part;
        if (part == rules.length) return false;
        bytes memory start = done == 0 ? new bytes(128) : pointOf[PointHash.unwrap(carried)];
        bytes memory points = nextSummands(NONE, round, part, done, POINTS_PER_PIECE);
        learnSum(start, points);
        fits("sum", anyone, address(models), abi.encodeCall(IModels.sum, (NONE, round, start, points)));
        return true;
    }

    function foldOne() external returns (bool) {
        uint64 before = models.modelCount();
        ModelId source = models.head();
        (bytes memory carried, bytes memory points) = nextFold(source, POINTS_PER_PIECE);
        fits("fold", anyone, address(models), abi.encodeCall(IModels.fold, (source, carried, points)));
        return models.modelCount() == before;
    }

    function everyRound() private returns (RoundId round) {
        toRounds("open", abi.encodeCall(IRounds.open, ()));
        round = rounds.currentRound();
        for (uint256 i = 0; i < orgs.length; ++i) {
            if (members.mayContribute(orgs[i])) this.commitOne(round, i);
        }
        toRounds("closeCommits", abi.encodeCall(IRounds.closeCommits, round));
        uint256 left = orgs.length;
        for (uint256 i = 0; i < orgs.length; ++i) {
            if (members.mayContribute(orgs[i])) this.revealOne(round, i);
            else --left;
        }
        toRounds("closeReveals", abi.encodeCall(IRounds.closeReveals, round));
        bytes memory scores = new bytes(2 * left);
        uint256[4] memory set = rounds.answersOf(round).revealed;
        toRounds("judge", abi.encodeCall(IRounds.judge, (round, set, scores, "")));
        while (this.sumOne(round)) {}
    }

    function remove(uint256 i) private {
        bytes memory data = abi.encodeCall(IWithdrawals.request, IWithdrawals.Method.Removal);
        fits("request", orgs[i], address(withdrawals), data);
    }

    function test_1024_members_in_blocks() public {
        deployAll(Weights.Rule.Block, MOST_MEMBERS);
        everyRound();
        while (this.foldOne()) {}
        remove(7);
        while (this.foldOne()) {}
        everyRound();
        while (this.foldOne()) {}
        contentIsAnswered(models.head(), 2 * (MOST_MEMBERS - 1));
        asks("organizations", address(members), abi.encodeCall(IMembers.organizations, (0, 256)));
    }

    function test_1024_members_in_a_shared_layout() public {
        deployAll(Weights.Rule.Share, MOST_MEMBERS);
        everyRound();
        while (this.foldOne()) {}
        remove(7);
        while (this.foldOne()) {}
        everyRound();
        while (this.foldOne()) {}
    }

    /// @dev Blocks and statistics: of these only the latest of each member counts.
    function test_1024_members_with_two_parts() public {
        Weights.Rule[] memory both = new Weights.Rule[](2);
        (both[0], both[1]) = (Weights.Rule.Block, Weights.Rule.Latest);
        deployAll(both, false, MOST_MEMBERS);
        for (uint256 i = 0; i < 2; ++i) {
            everyRound();
            while (this.foldOne()) {}
        }
        remove(7);
        while (this.foldOne()) {}
        contentIsAnswered(models.head(), 1, MOST_MEMBERS - 1);
    }

    /// @dev All but one leave while a round is under way.
    function test_1023_of_1024_members_leave() public {
        Weights.Rule[] memory one = new Weights.Rule[](1);
        one[0] = Weights.Rule.Share;
        deployAll(one, false, MOST_MEMBERS);
        everyRound();
        for (uint256 i = 1; i < MOST_MEMBERS; ++i) {
            vm.prank(orgs[i]);
            withdrawals.request(IWithdrawals.Method.Removal);
        }
        for (uint32 row = 4; row < 8; ++row) {
            asks("termsOf", address(models), abi.encodeCall(IModels.termsOf, (models.head(), row)));
        }
        while (this.foldOne()) {}
        vm.assertTrue(holds(models.head(), orgs[0]));
        contentIsAnswered(models.head(), 1);
        vm.assertFalse(holds(models.head(), orgs[1_023]));
    }

    /// @dev A thousand rounds of two members, and every contribution of one of them replaced.
    function test_a_thousand_rounds() public {
        Weights.Rule[] memory one = new Weights.Rule[](1);
        one[0] = Weights.Rule.Block;
        deployAll(one, false, 3);
        for (uint256 i = 0; i < maxRounds; ++i) {
            this.roundOfTwo();
        }
        ModelId head = models.head();
        contentIsAnswered(head, 2 * maxRounds);
        bytes memory data = abi.encodeCall(IModels.modelsContaining, (MemberId.wrap(1), ModelId.wrap(1), MODELS_PAGE));
        asks("modelsContaining", address(models), data);
        vm.prank(orgs[1]);
        WithdrawalId id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replay);
        for (uint64 n = 1; n <= maxRounds; ++n) {
            this.offerOne(id, RoundId.wrap(n));
        }
        fits("ready", orgs[1], address(withdrawals), abi.encodeCall(IWithdrawals.ready, id));
        while (this.foldOne()) {}
        vm.prank(orgs[1]);
        withdrawals.convert(id);
        while (this.foldOne()) {}
        fits("close", anyone, address(withdrawals), abi.encodeCall(IWithdrawals.close, id));
    }

    function roundOfTwo() external {
        RoundId round = revealed(some(0, 1));
        judge(round);
        sumUp(NONE, round, 2);
        foldAll(models.head());
    }

    function offerOne(WithdrawalId id, RoundId round) external {
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[1]);
        withdrawals.offer(id, round, ids, points, MANIFEST);
    }

    /// @dev Every contribution to a round was replaced, and then its weights change, from 10,000 / 1,001 to 10.
    function test_all_members_of_a_large_round_replaced_their_contributions() public {
        Weights.Rule[] memory one = new Weights.Rule[](1);
        one[0] = Weights.Rule.Share;
        deployAll(one, false, 1_001);
        everyRound();
        while (this.foldOne()) {}
        for (uint256 i = 0; i < orgs.length; ++i) {
            this.replaceOne(i);
        }
        while (models.isStale(models.head())) {
            this.foldPlainly();
        }
        contentIsAnswered(models.head(), orgs.length);
        withdrawals.close(WithdrawalId.wrap(8));
        remove(7);
        // The rows of round 1.
        for (uint32 row = 4; row < 8; ++row) {
            asks("termsOf", address(models), abi.encodeCall(IModels.termsOf, (models.head(), row)));
        }
        while (this.foldOne()) {}
        contentIsAnswered(models.head(), orgs.length - 1);
    }

    function foldPlainly() external {
        foldAll(models.head());
    }

    function replaceOne(uint256 i) external {
        vm.prank(orgs[i]);
        WithdrawalId id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replacement);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[i]);
        withdrawals.offer(id, RoundId.wrap(1), ids, points, MANIFEST);
        vm.prank(orgs[i]);
        withdrawals.ready(id);
    }

    /// @dev Sixteen models in use, and a thousand members that are in none of them leave.
    function test_a_thousand_removals_that_concern_none_of_sixteen_models() public {
        Weights.Rule[] memory one = new Weights.Rule[](1);
        one[0] = Weights.Rule.Block;
        deployAll(one, false, MOST_MEMBERS);
        for (uint256 i = 0; i < 16; ++i) {
            this.releasedRound();
        }
        vm.assertEq(models.modelsInUse().length, 16);
        for (uint256 i = 2; i < MOST_MEMBERS; ++i) {
            vm.prank(orgs[i]);
            withdrawals.request(IWithdrawals.Method.Removal);
        }
        fits("close the first", anyone, address(withdrawals), abi.encodeCall(IWithdrawals.close, WithdrawalId.wrap(1)));
        // One of the last has too much to look at, until someone has settled those before.
        for (uint32 by = 250; by <= 1_000; by += 250) {
            fits("settle 250", anyone, address(models), abi.encodeCall(IModels.settle, by));
        }
        WithdrawalId last = WithdrawalId.wrap(withdrawals.count());
        fits("close the last", anyone, address(withdrawals), abi.encodeCall(IWithdrawals.close, last));
        toRounds("open", abi.encodeCall(IRounds.open, ()));
    }

    function releasedRound() external {
        this.roundOfTwo();
        if (models.modelsInUse().length == 16) return;
        ModelId head = models.head();
        vm.prank(aggregator);
        models.release(head);
    }
}
