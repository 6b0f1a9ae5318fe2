"""Two nodes on one machine at home, the hub elsewhere."""

from __future__ import annotations

import pytest

from tests.network.conftest import MakeSwarm
from tests.support.light_swarm import ways_of

pytestmark = [pytest.mark.network, pytest.mark.timeout(300)]


def test_they_meet_at_home_and_their_shares_do_not_leave_it(make_swarm: MakeSwarm) -> None:
    swarm = make_swarm(homes=1)
    swarm.start_peers(2 * swarm.lab.homes)
    for rounds in swarm.play(7, longest_seconds=60):
        assert all(each.heard for each in rounds[2:])
        assert ways_of(rounds[4:]) == {"direct": 3}
