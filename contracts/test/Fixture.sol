// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Anchors} from "../src/Anchors.sol";
import {Governance} from "../src/Governance.sol";
import {Lineage} from "../src/Lineage.sol";
import {Members} from "../src/Members.sol";
import {Referee} from "../src/Referee.sol";
import {Rewards} from "../src/Rewards.sol";
import {Rounds} from "../src/Rounds.sol";
import {Withdrawals} from "../src/Withdrawals.sol";
import {ILineage} from "../src/interfaces/ILineage.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Cheats} from "./Cheats.sol";
import {Reference} from "./Reference.sol";

/// @dev A consortium, and a second bookkeeping of what its models should be.
abstract contract Fixture is Cheats, Reference {
    struct Offered {
        uint64 withdrawal;
        uint64 round;
        address organization;
        bytes32 root;
    }

    uint256 internal constant BOND = 1 ether;
    uint256 internal constant AGGREGATOR_BOND = 10 ether;
    uint256 internal constant PENALTY = 0.1 ether;
    uint256 internal constant DEPOSIT = 0.5 ether;
    uint256 internal constant POOL = 20 ether;
    uint256 internal constant REWARD = 1 ether;
    uint64 internal constant PHASE = 100;
    uint64 internal constant CHALLENGE = 200;
    uint64 internal constant PREPARATION = 1_500;
    uint64 internal constant WITHDRAWAL = 2_000;
    uint64 internal constant EXIT = 10_000;
    bytes32 internal constant SALT = bytes32(uint256(7));
    bytes32 internal constant MANIFEST = keccak256("manifest");
    bytes32 internal constant EVIDENCE = bytes32(uint256(0xE71D));

    Members internal members;
    Rounds internal rounds;
    Lineage internal lineage;
    Withdrawals internal withdrawals;
    Governance internal governance;
    Rewards internal rewards;
    Referee internal referee;
    Anchors internal anchors;
    address internal aggregator = address(0xA66);
    address internal anyone = address(0xBEEF);
    address[] internal orgs;
    uint256[] internal auditorKeys;
    bool internal shared;
    uint16 internal quorum = 2;

    Offered[] internal offered;
    mapping(uint64 => bool) internal applied;
    uint64 internal claimedFor;
    uint256 internal salts;

    function deployAll(bool shared_, uint64 challengeSeconds, uint256 organizations) internal {
        deployAll(shared_, challengeSeconds, organizations, 1_000);
    }

    function deployAll(bool shared_, uint64 challengeSeconds, uint256 organizations, uint32 maxRounds) internal {
        shared = shared_;
        vm.deal(address(this), 1_000 ether);
        uint64 nonce = vm.getNonce(address(this));
        address[7] memory will;
        for (uint256 i = 0; i < 7; ++i) {
            will[i] = vm.computeCreateAddress(address(this), nonce + i);
        }
        members = new Members(
            Members.Peers(will[4], will[1], will[2], will[3], Rewards(will[5])),
            aggregator,
            bytes32(uint256(1)),
            IMembers.Terms(BOND, AGGREGATOR_BOND, PENALTY, EXIT, 5_000, 100)
        );
        rounds = new Rounds(
            Members(will[0]),
            Lineage(will[2]),
            Withdrawals(will[3]),
            Rewards(will[5]),
            IRounds.Settings(bytes32(uint256(1)), bytes32(uint256(2)), shared_, shared_, maxRounds, PHASE, PHASE, PHASE)
        );
        lineage = new Lineage(
            Members(will[0]),
            Rounds(will[1]),
            will[3],
            Referee(will[6]),
            shared_,
            Lineage.Proving(PHASE, challengeSeconds, DEPOSIT)
        );
        withdrawals = new Withdrawals(
            Members(will[0]), Lineage(will[2]), will[4], IWithdrawals.Terms(PREPARATION, WITHDRAWAL, quorum)
        );
        governance = new Governance(Members(will[0]), will[3], 5_000, 1 days);
        rewards = new Rewards{value: POOL}(will[1], REWARD);
        referee = new Referee();
        anchors = new Anchors(members);
        _nameAuditors();
        for (uint256 i = 0; i < organizations; ++i) {
            join(address(uint160(0x1001 + i)));
        }
        vm.deal(aggregator, 2 * AGGREGATOR_BOND);
        vm.prank(aggregator);
        members.postAggregatorBond{value: AGGREGATOR_BOND}();
    }

    function join(address organization) internal {
        orgs.push(organization);
        vm.prank(members.underWay() ? address(governance) : address(this));
        members.admit(organization, "organization", bytes32(uint256(uint160(organization))));
        vm.deal(organization, 2 * BOND);
        vm.prank(organization);
        members.join{value: BOND}();
    }

    // Rounds

    /// @dev The delta that an organization trains in a round.
    function deltaOf(uint64 round, address organization) internal virtual returns (ILineage.Delta memory) {
        bytes32 seed = keccak256(abi.encode("delta", round, organization));
        return ILineage.Delta(keccak256(abi.encode(seed)), learn(sparse(seed)));
    }

    function freshDelta() internal returns (ILineage.Delta memory) {
        bytes32 seed = keccak256(abi.encode("fresh", ++salts));
        return ILineage.Delta(keccak256(abi.encode(seed)), learn(sparse(seed)));
    }

    function open() internal returns (uint64) {
        vm.prank(aggregator);
        return rounds.openRound();
    }

    function commitment(uint64 round, address organization, ILineage.Delta memory delta)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(round, organization, delta.artifactId, delta.digestRoot, MANIFEST, SALT));
    }

    function commitAs(uint64 round, address organization) internal {
        bytes32 hash = commitment(round, organization, deltaOf(round, organization));
        vm.prank(organization);
        rounds.commit(round, hash);
    }

    function revealAs(uint64 round, address organization) internal {
        ILineage.Delta memory delta = deltaOf(round, organization);
        vm.prank(organization);
        rounds.reveal(round, delta.artifactId, delta.digestRoot, MANIFEST, SALT);
    }

    function mayContribute() internal view returns (address[] memory list) {
        list = new address[](orgs.length);
        uint256 count = 0;
        for (uint256 i = 0; i < orgs.length; ++i) {
            if (members.mayContribute(orgs[i])) list[count++] = orgs[i];
        }
        assembly ("memory-safe") {
            mstore(list, count)
        }
    }

    function toRevealed() internal returns (uint64) {
        return toRevealed(mayContribute());
    }

    function toRevealed(address[] memory who) internal returns (uint64 round) {
        round = open();
        for (uint256 i = 0; i < who.length; ++i) {
            commitAs(round, who[i]);
        }
        if (!rounds.allAnswered(round)) vm.warp(clock() + PHASE + 1);
        rounds.closeCommits(round);
        for (uint256 i = 0; i < who.length; ++i) {
            revealAs(round, who[i]);
        }
        rounds.closeReveals(round);
    }

    /// @dev Who revealed and is active, ascending.
    function acceptable(uint64 round) internal view returns (ILineage.Contribution[] memory list) {
        list = new ILineage.Contribution[](orgs.length);
        uint256 count = 0;
        for (uint256 i = 0; i < orgs.length; ++i) {
            IRounds.Entry memory its = rounds.entry(round, orgs[i]);
            if (its.answer != IRounds.Answer.Revealed || !_isActive(orgs[i])) continue;
            list[count++] = ILineage.Contribution(orgs[i], 0, 5_000, its.artifactId, its.digestRoot);
        }
        assembly ("memory-safe") {
            mstore(list, count)
        }
        for (uint256 i = 0; i < count; ++i) {
            list[i].weight = weightOf(shared, i, count);
        }
    }

    function rejectable(uint64 round) internal view returns (IRounds.Rejection[] memory list) {
        list = new IRounds.Rejection[](orgs.length);
        uint256 count = 0;
        for (uint256 i = 0; i < orgs.length; ++i) {
            if (rounds.entry(round, orgs[i]).answer != IRounds.Answer.Revealed || _isActive(orgs[i])) continue;
            list[count++] = IRounds.Rejection(orgs[i], 9);
        }
        assembly ("memory-safe") {
            mstore(list, count)
        }
    }

    /// @dev The sum of contributions and the model that it makes of the head.
    function sumOf(ILineage.Contribution[] memory list)
        internal
        virtual
        returns (ILineage.Delta memory sum, ILineage.Delta memory adapter)
    {
        int256[16] memory total;
        for (uint256 i = 0; i < list.length; ++i) {
            add(total, list[i].digestRoot, int256(uint256(list[i].weight)));
        }
        sum = ILineage.Delta(keccak256(abi.encode("sum", ++salts)), learn(reduced(total)));
        add(total, lineage.model(lineage.head()).digestRoot, 1);
        adapter = ILineage.Delta(keccak256(abi.encode("adapter", ++salts)), learn(reduced(total)));
    }

    function aggregate(uint64 round) internal {
        ILineage.Contribution[] memory list = acceptable(round);
        (ILineage.Delta memory sum, ILineage.Delta memory adapter) = sumOf(list);
        IRounds.Rejection[] memory rejected = rejectable(round);
        vm.prank(aggregator);
        rounds.aggregate(round, list, rejected, sum, adapter);
        claimedFor = 0;
    }

    /// @dev A whole round of everyone that may contribute.
    function runRound() internal returns (uint64 round) {
        return runRound(mayContribute());
    }

    function runRound(address[] memory who) internal returns (uint64 round) {
        round = toRevealed(who);
        aggregate(round);
        finish();
    }

    // Claims

    function finish() internal {
        if (lineage.claim().mustProve) {
            proveInOne();
        } else {
            vm.warp(lineage.claim().deadline + 1);
            lineage.settle();
        }
        if (claimedFor != 0) applied[claimedFor] = true;
    }

    /// @dev Digests of all of the claim's terms, in order.
    function termBytes() internal view returns (bytes[] memory digests) {
        uint256 steps = lineage.stepCount();
        uint256 count = 0;
        for (uint256 step = 0; step < steps; ++step) {
            count += lineage.termsAt(step).length;
        }
        digests = new bytes[](count);
        count = 0;
        for (uint256 step = 0; step < steps; ++step) {
            ILineage.Term[] memory terms = lineage.termsAt(step);
            for (uint256 i = 0; i < terms.length; ++i) {
                digests[count++] = bytesOf(terms[i].digestRoot);
            }
        }
    }

    function sourceBytes() internal view returns (bytes memory) {
        return bytesOf(lineage.model(lineage.claim().source).digestRoot);
    }

    function proveInOne() internal {
        lineage.prove("", termBytes(), sourceBytes());
    }

    /// @dev Words and paths of a challenge, in the order of the claim's equation.
    function challengeOf(uint256 index) internal view returns (bytes32[] memory words, bytes32[9][] memory siblings) {
        bytes32[] memory roots = _equationRoots();
        words = new bytes32[](roots.length);
        siblings = new bytes32[9][](roots.length);
        for (uint256 i = 0; i < roots.length; ++i) {
            words[i] = wordOf(roots[i], index);
            siblings[i] = pathOf(roots[i], index);
        }
    }

    function _equationRoots() internal view returns (bytes32[] memory roots) {
        ILineage.Claim memory it = lineage.claim();
        uint256 steps = lineage.stepCount();
        uint256 count = it.kind == ILineage.Kind.Round ? 3 : 2;
        for (uint256 step = 0; step < steps; ++step) {
            count += lineage.termsAt(step).length;
        }
        roots = new bytes32[](count);
        count = 0;
        for (uint256 step = 0; step < steps; ++step) {
            ILineage.Term[] memory terms = lineage.termsAt(step);
            for (uint256 i = 0; i < terms.length; ++i) {
                roots[count++] = terms[i].digestRoot;
            }
        }
        if (it.kind == ILineage.Kind.Round) roots[count++] = it.aggregateRoot;
        roots[count++] = lineage.model(it.source).digestRoot;
        roots[count] = it.digestRoot;
    }

    // Withdrawals

    function requestAs(address organization, ILineage.Kind method) internal returns (uint64) {
        vm.prank(organization);
        return withdrawals.request(method);
    }

    function requestForSubjectAs(address organization, ILineage.Kind method) internal returns (uint64) {
        vm.prank(organization);
        return withdrawals.requestForSubject(bytes32(++salts), method);
    }

    function offerAs(address organization, uint64 id, uint64 round) internal returns (ILineage.Delta memory delta) {
        delta = freshDelta();
        vm.prank(organization);
        withdrawals.offer(id, round, delta, MANIFEST);
        offered.push(Offered(id, round, organization, delta.digestRoot));
    }

    function readyAs(address organization, uint64 id) internal {
        vm.prank(organization);
        withdrawals.ready(id);
    }

    /// @dev The right successor of a model under a withdrawal.
    function successor(uint64 id, uint64 source) internal virtual returns (ILineage.Delta memory) {
        bytes32 root = learn(target(lineage.model(source).lastRound, id));
        return ILineage.Delta(keccak256(abi.encode("successor", ++salts)), root);
    }

    function claimSuccessor(uint64 id, uint64 source) internal {
        claimSuccessor(id, source, successor(id, source));
    }

    function claimSuccessor(uint64 id, uint64 source, ILineage.Delta memory adapter) internal {
        bytes[] memory signatures = attestations(id, source, adapter, quorum);
        vm.prank(aggregator);
        withdrawals.carryOut(id, source, adapter, EVIDENCE, signatures);
        claimedFor = id;
    }

    /// @dev Replaces one model.
    function carryOut(uint64 id, uint64 source) internal {
        claimSuccessor(id, source);
        finish();
    }

    /// @dev Removes the whole organization from the only model in use.
    function remove(address organization) internal returns (uint64 id) {
        id = requestAs(organization, ILineage.Kind.Removal);
        carryOut(id, lineage.head());
        withdrawals.close(id);
    }

    function attestations(uint64 id, uint64 source, ILineage.Delta memory adapter, uint256 count)
        internal
        view
        returns (bytes[] memory signatures)
    {
        bytes32 hash = withdrawals.attestationHash(id, source, adapter, EVIDENCE);
        signatures = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            signatures[i] = signed(auditorKeys[i], hash);
        }
    }

    function signed(uint256 key, bytes32 hash) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, hash);
        return abi.encodePacked(r, s, v);
    }

    // The second bookkeeping

    /// @dev All withdrawals, and which of them count.
    struct Book {
        IWithdrawals.Withdrawal[] withdrawals;
        bool[] counts;
        Offered[] offers;
    }

    /// @dev What a model of the rounds up to `lastRound` should be with every withdrawal that was carried out so far,
    /// and `extra`: the sum of what is left of all contributions.
    function target(uint64 lastRound, uint64 extra) internal view returns (Sparse memory) {
        Book memory book = _book(extra);
        int256[16] memory total;
        for (uint64 round = 1; round <= lastRound; ++round) {
            if (rounds.roundOf(round).state == IRounds.State.Final) _addRound(total, round, book);
        }
        for (uint256 i = 0; i < book.offers.length; ++i) {
            Offered memory it = book.offers[i];
            if (!book.counts[it.withdrawal] || it.round != 0) continue;
            if (book.withdrawals[it.withdrawal].method != ILineage.Kind.CounterTraining) continue;
            if (_isGone(it.organization, book) || !_contributedUpTo(it.organization, lastRound)) continue;
            add(total, it.root, 10_000);
        }
        return reduced(total);
    }

    function _book(uint64 extra) private view returns (Book memory book) {
        uint64 count = withdrawals.count();
        book.withdrawals = new IWithdrawals.Withdrawal[](count + 1);
        book.counts = new bool[](count + 1);
        book.offers = offered;
        for (uint64 id = 1; id <= count; ++id) {
            book.counts[id] = id == extra || applied[id];
            book.withdrawals[id] = withdrawals.withdrawal(id);
        }
    }

    /// @dev Whether everything of an organization was withdrawn.
    function _isGone(address organization, Book memory book) private pure returns (bool) {
        for (uint256 id = 1; id < book.counts.length; ++id) {
            IWithdrawals.Withdrawal memory it = book.withdrawals[id];
            if (it.organization != organization || it.subject != 0 || !book.counts[id]) continue;
            if (it.method != ILineage.Kind.CounterTraining) return true;
        }
        return false;
    }

    function _addRound(int256[16] memory total, uint64 round, Book memory book) private view {
        ILineage.Contribution[] memory all = lineage.contributions(round);
        uint256 kept = 0;
        for (uint256 i = 0; i < all.length; ++i) {
            if (_isGone(all[i].organization, book)) all[i].organization = address(0);
            else ++kept;
        }
        uint256 place = 0;
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i].organization == address(0)) continue;
            bytes32 root = _rootIn(round, all[i].organization, book);
            int256 weight = int256(uint256(weightOf(shared, place++, kept)));
            add(total, root == 0 ? all[i].digestRoot : root, weight);
        }
    }

    /// @dev The last offer in place of a contribution that counts, or 0.
    function _rootIn(uint64 round, address organization, Book memory book) private view returns (bytes32 root) {
        for (uint256 i = 0; i < book.offers.length; ++i) {
            Offered memory it = book.offers[i];
            if (it.round != round || it.organization != organization || !book.counts[it.withdrawal]) continue;
            IWithdrawals.Withdrawal memory its = book.withdrawals[it.withdrawal];
            bool replaces = its.method == ILineage.Kind.Replacement;
            if (its.method == ILineage.Kind.Replay) {
                uint64 start = replayStart(it.withdrawal, its);
                replaces = round > start || (round == start && organization == its.organization);
            }
            if (replaces) root = it.root;
        }
    }

    function replayStart(uint64 id, IWithdrawals.Withdrawal memory its) internal view returns (uint64 start) {
        if (its.subject == 0) return lineage.roundsOf(its.organization)[0];
        start = type(uint64).max;
        for (uint256 i = 0; i < offered.length; ++i) {
            if (offered[i].withdrawal != id || offered[i].organization != its.organization) continue;
            if (offered[i].round < start) start = offered[i].round;
        }
    }

    function _contributedUpTo(address organization, uint64 lastRound) private view returns (bool) {
        for (uint64 round = 1; round <= lastRound; ++round) {
            if (rounds.roundOf(round).state != IRounds.State.Final) continue;
            ILineage.Contribution[] memory all = lineage.contributions(round);
            for (uint256 i = 0; i < all.length; ++i) {
                if (all[i].organization == organization) return true;
            }
        }
        return false;
    }

    function _isActive(address organization) internal view returns (bool) {
        return members.statusOf(organization) == IMembers.Status.Active;
    }

    /// @dev Sum of what a model is said to be made of.
    function sumOfContent(uint64 id) internal view returns (bytes32) {
        (ILineage.Part[] memory parts,) = lineage.contentOf(id, 0, type(uint64).max);
        int256[16] memory total;
        for (uint256 i = 0; i < parts.length; ++i) {
            add(total, parts[i].digestRoot, int256(uint256(parts[i].weight)));
        }
        return rootOf(reduced(total));
    }

    function assertModelAddsUp(uint64 id) internal view {
        vm.assertEq(sumOfContent(id), lineage.model(id).digestRoot);
    }

    function assertState(uint64 id, IWithdrawals.State state) internal view {
        vm.assertEq(uint8(withdrawals.withdrawal(id).state), uint8(state));
    }

    function assertRound(uint64 round, IRounds.State state) internal view {
        vm.assertEq(uint8(rounds.roundOf(round).state), uint8(state));
    }

    function _nameAuditors() private {
        uint256[3] memory keys = [uint256(11), 12, 13];
        for (uint256 i = 0; i < 3; ++i) {
            members.nameAuditor(vm.addr(keys[i]));
            auditorKeys.push(keys[i]);
            for (uint256 j = i; j > 0 && vm.addr(auditorKeys[j]) < vm.addr(auditorKeys[j - 1]); --j) {
                (auditorKeys[j], auditorKeys[j - 1]) = (auditorKeys[j - 1], auditorKeys[j]);
            }
        }
    }
}
