// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title A coordinator that calls back into the market when asked whose a peer is
/// @notice It claims all peers for itself, so that as far as the market knows, the call that it smuggles in comes from
/// the peer's owner.
contract ReenteringCoordinator {
    bytes private _smuggled;

    /// @notice Call the market with `data`, and once more from within, when it asks for the peer's owner.
    function attack(address market, bytes calldata data) external {
        _smuggled = data;
        (bool done, bytes memory reason) = market.call(data);
        _smuggled = "";
        if (!done) {
            assembly {
                revert(add(reason, 32), mload(reason))
            }
        }
    }

    function getEoa(string[] calldata peerIds) external returns (address[] memory accounts) {
        accounts = new address[](peerIds.length);
        for (uint256 i; i < peerIds.length; i++) accounts[i] = address(this);
        if (_smuggled.length != 0) {
            // Whatever becomes of it: the answer is the same, so that the outer call goes on.
            (bool done,) = msg.sender.call(_smuggled);
            done;
        }
    }
}
