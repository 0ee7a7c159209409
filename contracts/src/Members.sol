// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Seats} from "./Seats.sol";
import {MemberId, WithdrawalId} from "./Types.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {IWithdrawals} from "./interfaces/IWithdrawals.sol";
import {Bitmap} from "./libraries/Bitmap.sol";

/// @title Members and their bonds.
contract Members is Seats {
    using Bitmap for uint256[4];

    /// @dev A member and its open withdrawal, in one word: a request writes it anyway.
    struct Record {
        Status status;
        MemberId number;
        uint40 exitAt;
        uint96 bond;
        WithdrawalId open;
    }

    address public immutable withdrawals;

    /// @inheritdoc IMembers
    uint40 public emptySince;
    /// @inheritdoc IMembers
    mapping(address => string) public nameOf;

    mapping(address => Record) private _members;
    address[] private _organizations;
    uint256[4] private _active;
    uint256[4] private _eligible;
    /// @dev Members with a penalty that was not taken yet.
    uint256[4] private _owing;

    constructor(
        address governance_,
        address rounds_,
        address withdrawals_,
        IRewards rewards_,
        address aggregator_,
        Terms memory terms_
    ) Seats(governance_, rounds_, rewards_, aggregator_, terms_) {
        if (terms_.maxMembers == 0 || terms_.maxMembers > Bitmap.MOST) revert WrongTerms();
        withdrawals = withdrawals_;
    }

    /// @inheritdoc IMembers
    function admit(address organization, string calldata name) external onlyGovernance {
        if (organization == address(0) || bytes(name).length == 0) revert EmptyValue();
        if (organization == aggregator) revert IsAggregator(organization);
        if (_members[organization].status != Status.None) revert AlreadyAdmitted(organization);
        nameOf[organization] = name;
        _setStatus(organization, Status.Admitted);
        emit Admitted(organization, name);
    }

    /// @inheritdoc IMembers
    function revokeAdmission(address organization) external onlyGovernance {
        _require(organization, Status.Admitted);
        delete nameOf[organization];
        _setStatus(organization, Status.None);
        emit AdmissionRevoked(organization);
    }

    /// @inheritdoc IMembers
    function join(bytes32 fingerprint, bytes calldata proof) external payable {
        Record storage own = _require(msg.sender, Status.Admitted);
        if (msg.sender == aggregator) revert IsAggregator(msg.sender);
        if (msg.value != terms.bond) revert WrongBond(msg.value, terms.bond);
        if (_organizations.length == terms.maxMembers) revert TooManyMembers(terms.maxMembers);
        MemberId number = MemberId.wrap(uint16(_organizations.length));
        own.number = number;
        own.bond = uint96(msg.value);
        _organizations.push(msg.sender);
        _active.add(number);
        _eligible.add(number);
        if (emptySince != 0) emptySince = 0;
        _setStatus(msg.sender, Status.Active);
        _setFingerprint(fingerprint, proof);
        emit Joined(msg.sender, number, msg.value);
    }

    /// @inheritdoc IMembers
    function topUp() external payable {
        Record storage own = _require(msg.sender, Status.Active);
        if (_owing.has(own.number)) _penalize(msg.sender, own);
        uint256 missing = terms.bond - own.bond;
        if (msg.value > missing || (msg.value == 0 && missing != 0)) revert WrongBond(msg.value, missing);
        own.bond += uint96(msg.value);
        if (msg.value == missing) _eligible.add(own.number);
        emit BondRaised(msg.sender, msg.value, own.bond);
    }

    /// @inheritdoc IMembers
    function resign() external {
        Record storage own = _require(msg.sender, Status.Active);
        own.exitAt = uint40(block.timestamp) + terms.exitSeconds;
        _deactivate(own.number);
        _setStatus(msg.sender, Status.Left);
    }

    /// @inheritdoc IMembers
    function reclaimBond() external nonReentrant {
        Record storage own = _members[msg.sender];
        if (own.status != Status.Left && own.status != Status.Withdrawn) revert WrongStatus(msg.sender, own.status);
        if (block.timestamp < own.exitAt) revert TooEarly(own.exitAt);
        if (_owing.has(own.number)) _penalize(msg.sender, own);
        uint256 amount = own.bond;
        if (amount == 0) revert NothingToClaim(msg.sender);
        own.bond = 0;
        emit BondReclaimed(msg.sender, amount);
        Address.sendValue(payable(msg.sender), amount);
    }

    /// @inheritdoc IMembers
    function penalize(address organization) external {
        Record storage its = _members[organization];
        if (_isNumbered(its.status) && _owing.has(its.number)) {
            _penalize(organization, its);
            // Where the penalty is nothing the bond is whole again at once.
            if (its.status == Status.Active && its.bond >= terms.bond) _eligible.add(its.number);
        } else {
            revert NoPenaltyDue(organization);
        }
    }

    /// @inheritdoc IMembers
    function startWithdrawal(address organization, WithdrawalId withdrawal, bool leaves)
        external
        only(withdrawals)
        returns (MemberId)
    {
        Record storage its = _members[organization];
        if (WithdrawalId.unwrap(its.open) != 0) revert IWithdrawals.AlreadyOpen(its.open);
        // An organization whose contributions were counter-trained is Withdrawn, and may still be removed.
        bool may =
            its.status == Status.Active || its.status == Status.Left || (leaves && its.status == Status.Withdrawn);
        if (!may) revert WrongStatus(organization, its.status);
        its.open = withdrawal;
        if (leaves) _leave(organization, its);
        return its.number;
    }

    /// @inheritdoc IMembers
    function markWithdrawing(address organization) external only(withdrawals) returns (MemberId) {
        Record storage its = _members[organization];
        if (its.status != Status.Withdrawing) _leave(organization, its);
        return its.number;
    }

    /// @inheritdoc IMembers
    function endWithdrawal(address organization) external only(withdrawals) {
        Record storage its = _members[organization];
        its.open = WithdrawalId.wrap(0);
        if (its.status != Status.Withdrawing) return;
        its.exitAt = uint40(block.timestamp) + terms.exitSeconds;
        _setStatus(organization, Status.Withdrawn);
    }

    /// @inheritdoc IMembers
    function suspend(uint256[4] calldata unrevealed) external only(rounds) {
        for (uint256 i = 0; i < Bitmap.width(_organizations.length); ++i) {
            if (unrevealed[i] == 0) continue;
            _eligible[i] &= ~unrevealed[i];
            _owing[i] |= unrevealed[i];
        }
        emit Suspended(unrevealed);
    }

    /// @inheritdoc IMembers
    function openOf(address organization) external view returns (WithdrawalId) {
        return _members[organization].open;
    }

    /// @inheritdoc IMembers
    function member(address organization) external view returns (Member memory) {
        Record storage its = _members[organization];
        return Member(its.status, its.number, its.exitAt, its.bond);
    }

    /// @inheritdoc IMembers
    function numberOf(address organization) external view returns (MemberId) {
        Record storage its = _members[organization];
        if (!_isNumbered(its.status)) revert WrongStatus(organization, its.status);
        return its.number;
    }

    /// @inheritdoc IMembers
    function statusOf(address organization) external view returns (Status) {
        return _members[organization].status;
    }

    /// @inheritdoc IMembers
    function contributor(address organization) external view returns (MemberId) {
        if (!mayContribute(organization)) revert MayNotContribute(organization);
        return _members[organization].number;
    }

    /// @inheritdoc IMembers
    function mayContribute(address organization) public view returns (bool) {
        Record storage its = _members[organization];
        return its.status == Status.Active && _eligible.has(its.number);
    }

    /// @inheritdoc IMembers
    function organizations(uint256 start, uint256 limit) external view returns (address[] memory page) {
        uint256 total = _organizations.length;
        uint256 end = start + limit < total ? start + limit : total;
        page = new address[](start < end ? end - start : 0);
        for (uint256 i = 0; i < page.length; ++i) {
            page[i] = _organizations[start + i];
        }
    }

    /// @inheritdoc IMembers
    function organizationAt(MemberId number) external view returns (address) {
        return _organizations[MemberId.unwrap(number)];
    }

    /// @inheritdoc IMembers
    function memberCount() external view returns (uint256) {
        return _organizations.length;
    }

    /// @inheritdoc IMembers
    function activeCount() public view returns (uint256) {
        return activeMembers().count();
    }

    /// @inheritdoc IMembers
    function activeMembers() public view returns (uint256[4] memory) {
        return _active.load(Bitmap.width(_organizations.length));
    }

    /// @inheritdoc IMembers
    function eligibleMembers() external view returns (uint256[4] memory) {
        return _eligible.load(Bitmap.width(_organizations.length));
    }

    function _penalize(address organization, Record storage its) private {
        _owing.remove(its.number);
        uint96 amount = its.bond < terms.unrevealedPenalty ? its.bond : terms.unrevealedPenalty;
        its.bond -= amount;
        emit Penalized(organization, amount);
        rewards.fund{value: amount}();
    }

    function _leave(address organization, Record storage its) private {
        if (its.status == Status.Active) _deactivate(its.number);
        _setStatus(organization, Status.Withdrawing);
    }

    function _deactivate(MemberId number) private {
        _active.remove(number);
        _eligible.remove(number);
        if (activeCount() == 0) emptySince = uint40(block.timestamp);
    }

    function _setStatus(address organization, Status status) private {
        _members[organization].status = status;
        emit StatusChanged(organization, status);
    }

    function _isFounding() internal view override returns (bool) {
        return _organizations.length == 0;
    }

    function _isMember(address account) internal view override returns (bool) {
        return _isNumbered(_members[account].status);
    }

    function _require(address organization, Status status) private view returns (Record storage its) {
        its = _members[organization];
        if (its.status != status) revert WrongStatus(organization, its.status);
    }

    function _isNumbered(Status status) private pure returns (bool) {
        return status != Status.None && status != Status.Admitted;
    }
}
