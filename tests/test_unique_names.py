from sardonyx.unique_names import UniqueNames


def test_a_name_is_given_once_whatever_was_taken_before():
    names = UniqueNames(["a", "a_1", "b_2"])
    given = [names.unique(name) for name in ["a", "b", "a", "b", "b", "c", "a_3"]]
    assert given == ["a_2", "b", "a_3", "b_1", "b_3", "c", "a_3_1"]


def test_a_name_that_is_taken_many_times_costs_no_more_each_time():
    names = UniqueNames()
    assert len({names.unique("a") for _ in range(50_000)}) == 50_000
