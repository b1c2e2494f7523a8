from tests.shape import misshapen

import carom.scenarios.store


def test_what_is_given_away_cannot_be_changed_and_every_argument_has_a_name() -> None:
    assert not list(misshapen(carom.scenarios.store))
