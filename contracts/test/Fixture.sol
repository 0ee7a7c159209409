// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Anchors} from "../src/Anchors.sol";
import {Governance} from "../src/Governance.sol";
import {Members} from "../src/Members.sol";
import {Models} from "../src/Models.sol";
import {Replays} from "../src/Replays.sol";
import {Rewards} from "../src/Rewards.sol";
import {Rounds} from "../src/Rounds.sol";
import {ArtifactId, MemberId, ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {Withdrawals} from "../src/Withdrawals.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Curve} from "../src/libraries/Curve.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Cheats} from "./Cheats.sol";

/// @dev A consortium. Points are multiples of the group's generator, so a second bookkeeping of sums is one of scalars.
abstract contract Fixture is Cheats {
    uint96 internal constant BOND = 1 ether;
    uint96 internal constant AGGREGATOR_BOND = 10 ether;
    uint96 internal constant PENALTY = 0.1 ether;
    uint256 internal constant POOL = 20 ether;
    uint256 internal constant REWARD = 1 ether;
    uint256 internal constant PRICE = 0.01 ether;
    uint40 internal constant PHASE = 100;
    uint40 internal constant PREPARATION = 1_500;
    uint40 internal constant ATTESTATION = 2_000;
    uint40 internal constant REPLAY = 500;
    uint40 internal constant EXIT = 10_000;
    /// @dev Small, so that content is asked for in several pages wherever it is checked.
    uint64 internal constant PAGE = 7;
    bytes32 internal constant SALT = keccak256("salt");
    bytes32 internal constant MANIFEST = keccak256("manifest");
    bytes32 internal constant EVIDENCE = bytes32(uint256(0xE71D));
    bytes internal constant PROOF = hex"01";

    Members internal members;
    Rounds internal rounds;
    Models internal models;
    Withdrawals internal withdrawals;
    Replays internal replays;
    Governance internal governance;
    Rewards internal rewards;
    Anchors internal anchors;
    address internal aggregator = address(0xA66);
    address internal anyone = address(0xBEEF);
    address[] internal orgs;
    uint256[] internal auditorKeys;
    Weights.Rule[] internal rules;
    bool internal chained;
    bool internal attested;
    uint16 internal quorum = 2;
    uint16 internal maxRounds = 1_000;
    uint256 internal salts;

    /// @dev The scalar of a point, by its hash, so that sums can be followed.
    mapping(bytes32 => uint256) internal scalarOf;
    /// @dev Points that were registered, by hash.
    mapping(bytes32 => bytes) internal pointOf;

    function deployAll(Weights.Rule rule, uint256 organizations) internal {
        Weights.Rule[] memory one = new Weights.Rule[](1);
        one[0] = rule;
        deployAll(one, rule == Weights.Rule.Share, organizations);
    }

    function deployAll(Weights.Rule[] memory rules_, bool chained_, uint256 organizations) internal {
        rules = rules_;
        chained = chained_;
        learn(new bytes(128), 0);
        vm.deal(address(this), 1_000 ether);
        deployContracts();
        nameAuditors();
        for (uint256 i = 0; i < organizations; ++i) {
            address organization = address(uint160(0x1001 + i));
            members.admit(organization, "organization");
            orgs.push(organization);
        }
        for (uint256 i = 0; i < organizations; ++i) {
            vm.deal(orgs[i], 100 ether);
            vm.prank(orgs[i]);
            members.join{value: BOND}(bytes32(i + 1), PROOF);
        }
        vm.deal(aggregator, 2 * AGGREGATOR_BOND);
        vm.prank(aggregator);
        members.postAggregatorBond{value: AGGREGATOR_BOND}();
    }

    function deployContracts() internal virtual {
        uint64 nonce = vm.getNonce(address(this));
        address[7] memory will;
        for (uint256 i = 0; i < 7; ++i) {
            will[i] = vm.computeCreateAddress(address(this), nonce + i);
        }
        members = new Members(
            will[5],
            will[1],
            will[3],
            Rewards(will[6]),
            aggregator,
            IMembers.Terms(BOND, AGGREGATOR_BOND, PENALTY, EXIT, 5_000, 1_024)
        );
        rounds = new Rounds(
            Members(will[0]),
            Models(will[2]),
            Replays(will[4]),
            Rewards(will[6]),
            quorum,
            IRounds.Settings(
                bytes32(uint256(1)), bytes32(uint256(2)), rules, chained, attested, maxRounds, PHASE, PHASE, PHASE
            )
        );
        models = new Models(Members(will[0]), Rounds(will[1]), will[3], Replays(will[4]), rules, chained);
        withdrawals = new Withdrawals(
            Members(will[0]),
            Rounds(will[1]),
            Models(will[2]),
            Replays(will[4]),
            will[5],
            chained,
            IWithdrawals.Terms(PREPARATION, ATTESTATION, quorum)
        );
        replays = new Replays(Members(will[0]), Rounds(will[1]), Models(will[2]), will[3], REPLAY, PRICE);
        governance = new Governance(Members(will[0]), will[3], 5_000, 1 days);
        rewards = new Rewards{value: POOL}(members, rounds, REWARD, EXIT);
        anchors = new Anchors(members);
    }

    function nameAuditors() internal {
        for (uint256 i = 0; i < 3; ++i) {
            auditorKeys.push(0xA0D1 + i);
        }
        // Ascending by address, as signatures must be.
        for (uint256 i = 0; i < 3; ++i) {
            for (uint256 j = i + 1; j < 3; ++j) {
                if (vm.addr(auditorKeys[j]) < vm.addr(auditorKeys[i])) {
                    (auditorKeys[i], auditorKeys[j]) = (auditorKeys[j], auditorKeys[i]);
                }
            }
        }
        for (uint256 i = 0; i < 3; ++i) {
            members.nameAuditor(vm.addr(auditorKeys[i]));
        }
    }

    // Points

    /// @dev scalar x generator.
    function multiple(uint256 scalar) internal view returns (bytes memory point) {
        bytes memory generator =
            hex"0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb0000000000000000000000000000000008b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1";
        (bool done, bytes memory answer) = address(0x0c).staticcall(abi.encodePacked(generator, scalar));
        require(done, "precompile");
        return answer;
    }

    /// @dev A point of the curve that is not in the subgroup: x = 4.
    function outsideSubgroup() internal pure returns (bytes memory) {
        return hex"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000004000000000000000000000000000000000a989badd40d6212b33cffc3f3763e9bc760f988c9926b26da9dd85e928483446346b8ed00e1de5d5ea93e354abe706c";
    }

    function learn(bytes memory point, uint256 scalar) internal {
        scalarOf[keccak256(point)] = scalar;
        pointOf[keccak256(point)] = point;
    }

    /// @dev A point of each part of what an organization contributes, and their artifacts.
    function contribution(bytes32 seed) internal returns (bytes32[] memory ids, bytes memory points) {
        ids = new bytes32[](rules.length);
        for (uint256 part = 0; part < rules.length; ++part) {
            uint256 scalar = scalarFor(seed, part);
            bytes memory point = multiple(scalar);
            learn(point, scalar);
            ids[part] = keccak256(abi.encode("artifact", seed, part));
            points = bytes.concat(points, point);
        }
    }

    function scalarFor(bytes32 seed, uint256 part) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, part))) >> 8;
    }

    function seedOf(RoundId round, address organization) internal pure returns (bytes32) {
        return keccak256(abi.encode("round", round, organization));
    }

    function contributionOf(RoundId round, address organization)
        internal
        returns (bytes32[] memory ids, bytes memory points)
    {
        return contribution(seedOf(round, organization));
    }

    function fresh() internal returns (bytes32[] memory ids, bytes memory points) {
        ++salts;
        return contribution(lastFresh());
    }

    /// @dev The seed of the last fresh contribution.
    function lastFresh() internal view returns (bytes32) {
        return keccak256(abi.encode("fresh", salts));
    }

    // Rounds

    function open() internal returns (RoundId) {
        vm.prank(aggregator);
        return rounds.open();
    }

    function commitAs(RoundId round, address organization) internal {
        (bytes32[] memory ids, bytes memory points) = contributionOf(round, organization);
        bytes32 hash = keccak256(abi.encode(round, organization, ids, keccak256(points), MANIFEST, SALT));
        vm.prank(organization);
        rounds.commit(round, hash);
    }

    function revealAs(RoundId round, address organization) internal {
        (bytes32[] memory ids, bytes memory points) = contributionOf(round, organization);
        vm.prank(organization);
        rounds.reveal(round, ids, points, MANIFEST, SALT);
    }

    function pass(uint256 seconds_) internal {
        vm.warp(clock() + seconds_);
    }

    /// @dev A round up to its reveals, by some of the organizations.
    function revealed(address[] memory by) internal returns (RoundId round) {
        round = open();
        for (uint256 i = 0; i < by.length; ++i) {
            commitAs(round, by[i]);
        }
        pass(PHASE + 1);
        rounds.closeCommits(round);
        for (uint256 i = 0; i < by.length; ++i) {
            revealAs(round, by[i]);
        }
        pass(PHASE + 1);
        rounds.closeReveals(round);
    }

    /// @dev Accept everyone who revealed, with equal scores.
    function judge(RoundId round) internal {
        uint256[4] memory set = rounds.answersOf(round).revealed;
        bytes memory scores;
        for (uint256 i = 0; i < 4; ++i) {
            for (uint256 rest = set[i]; rest != 0; rest &= rest - 1) {
                scores = abi.encodePacked(scores, uint16(5_000));
            }
        }
        vm.prank(aggregator);
        rounds.judge(round, set, scores, "");
    }

    function sumUp(OfferId offer, RoundId round, uint256 pieces) internal {
        while (sumPiece(offer, round, pieces)) {}
    }

    /// @dev Send the next piece of a sum, of at most so many points. Return whether there was one to send.
    function sumPiece(OfferId offer, RoundId round, uint256 most) internal returns (bool) {
        (uint8 part, uint16 done, PointHash carried) = models.summedOf(offer, round);
        while (part < rules.length && rules[part] == Weights.Rule.Latest) ++part;
        if (part == rules.length) return false;
        bytes memory start = done == 0 ? new bytes(128) : pointOf[PointHash.unwrap(carried)];
        bytes memory points = nextSummands(offer, round, part, done, most);
        learnSum(start, points);
        models.sum(offer, round, start, points);
        return true;
    }

    function nextSummands(OfferId offer, RoundId round, uint8 part, uint16 done, uint256 pieces)
        internal
        view
        returns (bytes memory points)
    {
        uint256[4] memory set = rounds.acceptedIn(round);
        uint256 place = 0;
        for (uint256 n = 0; n < 1_024; ++n) {
            MemberId member = MemberId.wrap(uint16(n));
            PointHash point;
            if (OfferId.unwrap(offer) == 0) {
                if (set[n >> 8] & (1 << (n & 255)) == 0) continue;
                point = rounds.pointOf(round, member, part);
            } else {
                if (n >= orgs.length) break;
                point = models.offerOf(offer, round, member, part).point;
                if (PointHash.unwrap(point) == 0) continue;
            }
            if (place++ < done) continue;
            if (place > done + pieces) break;
            points = bytes.concat(points, pointOf[PointHash.unwrap(point)]);
        }
    }

    function learnSum(bytes memory start, bytes memory points) internal {
        uint256 scalar = scalarOf[keccak256(start)];
        for (uint256 i = 0; i < points.length / 128; ++i) {
            scalar = addmod(scalar, scalarOf[keccak256(slice(points, i))], Curve.ORDER);
        }
        learn(multiple(scalar), scalar);
    }

    function slice(bytes memory points, uint256 place) internal pure returns (bytes memory point) {
        point = new bytes(128);
        for (uint256 i = 0; i < 128; ++i) {
            point[i] = points[128 * place + i];
        }
    }

    // Folds

    /// @dev Send the next piece of a fold, of at most so many points. Return whether more is to come.
    function foldPiece(ModelId source, uint256 most) internal returns (bool more) {
        (bytes memory carried, bytes memory points) = nextFold(source, most);
        uint64 before = models.modelCount();
        models.fold(source, carried, points);
        return models.modelCount() == before;
    }

    /// @dev The next piece of a fold.
    function nextFold(ModelId source, uint256 most) internal returns (bytes memory carried, bytes memory points) {
        IModels.Fold memory its = models.foldOf(source);
        uint256 count = 0;
        uint256 scalar = scalarOf[PointHash.unwrap(its.carried)];
        uint32 place = its.place;
        uint32 rows = models.rowsOf(source);
        for (uint32 row = its.row; row < rows && count <= most; ++row) {
            IModels.Term[] memory terms = models.termsOf(source, row);
            for (; place < terms.length; ++place) {
                if (count++ == most) break;
                bytes32 hash = PointHash.unwrap(terms[place].point);
                points = bytes.concat(points, pointOf[hash]);
                scalar = addmod(
                    scalar, mulmod(scalarOf[hash], modOrder(terms[place].coefficient), Curve.ORDER), Curve.ORDER
                );
            }
            place = 0;
        }
        learn(multiple(scalar), scalar);
        return (pointOf[PointHash.unwrap(its.carried)], points);
    }

    function modOrder(int256 coefficient) internal pure returns (uint256) {
        return coefficient < 0 ? Curve.ORDER - uint256(-coefficient) : uint256(coefficient);
    }

    function foldAll(ModelId source) internal returns (ModelId) {
        while (foldPiece(source, 100)) {}
        return ModelId.wrap(models.modelCount());
    }

    /// @dev Fold everything that is stale, amendment by amendment.
    function refold() internal {
        bool changed = true;
        while (changed) {
            changed = false;
            ModelId[] memory used = models.modelsInUse();
            for (uint256 i = 0; i < used.length && !changed; ++i) {
                if (!models.isStale(used[i])) continue;
                foldAll(used[i]);
                changed = true;
            }
        }
    }

    function playRound(address[] memory by) internal returns (RoundId round) {
        round = revealed(by);
        judge(round);
        sumUp(OfferId.wrap(0), round, 100);
        foldAll(models.head());
        check();
    }

    function playRound() internal returns (RoundId) {
        return playRound(orgs);
    }

    /// @dev Every model's commitment is the weighted sum of its content, for each part.
    function check() internal view {
        for (uint64 id = 1; id <= models.modelCount(); ++id) {
            for (uint256 part = 0; part < rules.length; ++part) {
                checkModel(ModelId.wrap(id), part);
            }
        }
    }

    function checkModel(ModelId id, uint256 part) internal view {
        uint256 scalar = 0;
        uint64 next = 0;
        do {
            IModels.Entry[] memory content;
            (content, next) = models.contentOf(id, part, next, PAGE);
            for (uint256 i = 0; i < content.length; ++i) {
                uint256 one = scalarOf[PointHash.unwrap(content[i].point)];
                require(one != 0, "unknown point in content");
                scalar = addmod(scalar, mulmod(one, content[i].weight, Curve.ORDER), Curve.ORDER);
            }
        } while (next != 0);
        bytes32 committed = PointHash.unwrap(models.commitmentOf(id, part));
        vm.assertEq(committed, keccak256(multiple(scalar)), "commitment is not the sum of the content");
    }

    /// @dev What the head holds of a round.
    function contentOf(uint64 round) internal view returns (IModels.Entry[] memory content) {
        (content,) = models.contentOf(models.head(), 0, round << 32, uint64(orgs.length));
        uint256 count = 0;
        while (count < content.length && RoundId.unwrap(content[count].round) == round) {
            ++count;
        }
        assembly ("memory-safe") {
            mstore(content, count)
        }
    }

    function holds(ModelId id, address organization) internal view returns (bool) {
        return !models.isClean(id, members.member(organization).number);
    }

    function some(uint256 a, uint256 b) internal view returns (address[] memory by) {
        by = new address[](2);
        (by[0], by[1]) = (orgs[a], orgs[b]);
    }

    function some(uint256 a) internal view returns (address[] memory by) {
        by = new address[](1);
        by[0] = orgs[a];
    }

    function attest(WithdrawalId id, ModelId model) internal {
        bytes32 hash = withdrawals.attestationHash(id, model, EVIDENCE);
        bytes[] memory signatures = new bytes[](quorum);
        for (uint256 i = 0; i < quorum; ++i) {
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(auditorKeys[i], hash);
            signatures[i] = abi.encodePacked(r, s, v);
        }
        withdrawals.attest(id, model, EVIDENCE, signatures);
    }

    /// @dev Signatures of the first so many auditors under a round's attestation.
    function signed(RoundId round, bytes32 evidence, uint256 count) internal view returns (bytes[] memory signatures) {
        bytes memory commitments;
        for (uint256 part = 0; part < rules.length; ++part) {
            commitments = abi.encodePacked(commitments, models.commitmentOf(rounds.roundOf(round).model, part));
        }
        bytes32 struct_ = keccak256(abi.encode(rounds.ATTESTATION_TYPEHASH(), round, keccak256(commitments), evidence));
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Rescind"),
                keccak256("2"),
                block.chainid,
                address(rounds)
            )
        );
        bytes32 hash = keccak256(abi.encodePacked(hex"1901", domain, struct_));
        signatures = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(auditorKeys[i], hash);
            signatures[i] = abi.encodePacked(r, s, v);
        }
    }
}
