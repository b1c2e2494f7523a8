"""What images add to the variance of a rate, against loops, in as many slabs as there are."""

from dataclasses import replace

import numpy as np
from tests.scenarios.made_outcomes import made

from carom.scenarios.statistics.components import image_noise


def test_what_images_add_is_centred_in_each_source_and_a_source_of_one_image_adds_nothing() -> None:
    rng = np.random.default_rng(0)
    images = 1300
    hits = {("a", s, "v", 7): rng.random(images) < 0.4 + 0.2 * s for s in range(2)}
    outcomes = made(hits, right=rng.random(images) < 0.8)
    source = np.r_[0, np.ones(1201, dtype=np.int64), np.full(98, 2)]
    outcomes = replace(outcomes, image_source=source, image_sources=("one", "many", "some"))
    index = np.arange(2)
    asr = np.array([outcomes.success[i].sum() / outcomes.right[0].sum() for i in index])
    found = np.concatenate(list(image_noise(outcomes, index, asr)), axis=1)
    assert found.shape == (2, images - 1)  # nothing is known of the spread of one image
    for i in index:
        expected = []
        for which in (1, 2):
            added = [
                (float(outcomes.success[i, j]) - asr[i] * float(outcomes.right[0, j])) / outcomes.right[0].sum()
                for j in np.flatnonzero(source == which)
            ]
            mean = sum(added) / len(added)
            expected += [(one - mean) * np.sqrt(len(added) / (len(added) - 1)) for one in added]
        np.testing.assert_allclose(found[i], expected, rtol=0, atol=1e-12)
