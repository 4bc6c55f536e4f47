import time

import numpy as np
from sardonyx.runtime.team import Team


def test_a_team_that_ends_leaves_memory_that_is_used_again_alone():
    for _ in range(20):
        team = Team(4)
        time.sleep(0.002)  # the workers sleep by now
        team.stop()
        del team
        later = [np.full(72, 7, np.int64) for _ in range(8)]
        time.sleep(0.002)
        assert all((array == 7).all() for array in later)
