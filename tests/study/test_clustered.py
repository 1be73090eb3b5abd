"""Intervals hold what they should, where answers of a person and about an image go together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from art2real.core.proportions import wilson
from art2real.study.clustered import clustered_variance, difference_interval, share_interval


def simulated(rng, people, images, each, mean, person_sd, image_sd):
    """Answers, participants and images of one study: everyone judges `each` of the images in turn."""
    person = np.repeat(np.arange(people), each)
    image = rng.permutation(images)[np.arange(people * each) % images]
    logit = mean + rng.normal(0, person_sd, people)[person] + rng.normal(0, image_sd, images)[image]
    return rng.random(len(person)) < expit(logit), person, image


def truth(mean, person_sd, image_sd):
    at, weights = np.polynomial.hermite_e.hermegauss(60)
    return expit(mean + np.hypot(person_sd, image_sd) * at) @ weights / weights.sum()


# People, images, answers of each; mean and deviations of both leanings on the logit scale.
STUDIES = [
    (10, 20, 20, 0.8, 0.7, 0.7),
    (20, 40, 20, 0.8, 0.7, 0.7),
    (40, 100, 50, 0.0, 0.5, 0.5),
    (40, 20, 20, 1.0, 0.5, 1.0),
]


@pytest.mark.parametrize("study", STUDIES)
def test_the_clustered_interval_holds_the_truth_at_its_rate_and_wilsons_does_not(study):
    rng, expected = np.random.default_rng(0), truth(*study[3:])
    held, held_by_wilson = [], []
    for _ in range(400):
        answers = simulated(rng, *study)
        interval = share_interval(*answers)
        held.append(interval.low <= expected <= interval.high)
        low, high = wilson(answers[0].mean(), len(answers[0]))
        held_by_wilson.append(low <= expected <= high)
    assert 0.93 <= np.mean(held) <= 0.99
    assert np.mean(held_by_wilson) < 0.85


def test_independent_answers_have_wilsons_interval_or_a_little_more():
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(100):
        chosen, people, images = simulated(rng, 40, 60, 40, 0.4, 0, 0)
        low, high = wilson(chosen.mean(), len(chosen))
        interval = share_interval(chosen, people, images)
        assert interval.high - interval.low >= high - low
        ratios.append((interval.high - interval.low) / (high - low))
    assert np.mean(ratios) < 1.3


def slow_variance(influence, *clusterings):
    """The products of all pairs of answers that share a cluster, without the factors of few clusters."""
    shares = np.any([np.equal.outer(each, each) for each in clusterings], axis=0)
    return influence @ shares @ influence


def test_the_variance_adds_all_pairs_of_answers_that_share_a_person_or_an_image():
    rng = np.random.default_rng(2)
    chosen, people, images = simulated(rng, 300, 300, 20, 0.5, 1, 1)
    influence = (chosen - chosen.mean()) / len(chosen)
    # The factors are 300 / 299, and almost one for the pairs.
    assert clustered_variance(influence, people, images) == pytest.approx(
        slow_variance(influence, people, images), rel=0.005
    )


def test_the_variance_is_never_below_that_of_one_kind_of_clusters():
    rng = np.random.default_rng(3)
    for _ in range(50):
        chosen, people, images = simulated(rng, 4, 6, 6, 0, 0, 0)
        influence = (chosen - chosen.mean()) / len(chosen)
        both = clustered_variance(influence, people, images)
        for one in (people, images):
            assert both >= clustered_variance(influence, one, one) * (1 - 1e-9) > 0


def test_copies_of_answers_bring_nothing():
    # One answer of each of 12 people to an image of their own, and the same answer nine times.
    chosen, who = np.array([1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1], bool), np.arange(12)
    once = share_interval(chosen, who, who)
    often = share_interval(np.repeat(chosen, 9), np.repeat(who, 9), np.repeat(who, 9))
    assert (once.low, once.high) == pytest.approx((often.low, often.high), abs=0.01)


def test_names_of_people_and_images_do_not_matter():
    rng = np.random.default_rng(4)
    chosen, people, images = simulated(rng, 10, 20, 15, 0.5, 1, 1)
    names = np.array([f"picture {99 - each}" for each in images])
    other = rng.permutation(len(chosen))
    same = share_interval(chosen[other], (people * 7 + 3)[other], names[other])
    interval = share_interval(chosen, people, images)
    assert (same.low, same.high) == pytest.approx((interval.low, interval.high))


def test_all_alike_still_leaves_doubt():
    interval = share_interval(np.ones(200, bool), np.repeat(np.arange(10), 20), np.tile(np.arange(20), 10))
    assert interval.high == 1
    assert 0.5 < interval.low < 0.75  # as ten answers, not two hundred


def test_one_person_or_one_image_says_nothing_of_others():
    chosen = np.array([True, False, True])
    assert share_interval(chosen, np.zeros(3), np.arange(3)) is None
    assert share_interval(chosen, np.arange(3), np.zeros(3)) is None
    assert difference_interval(chosen, ~chosen, np.zeros(3), np.arange(3)) is None


def test_the_interval_of_a_difference_holds_it_at_its_rate():
    rng, held = np.random.default_rng(5), []
    expected = truth(0.2, 0.7, 0.7) - truth(-0.4, 0.7, 0.7)
    people, images = np.repeat(np.arange(20), 40), np.tile(np.repeat(np.arange(20), 2), 20)
    second = np.tile([False, True], 400)
    for _ in range(300):
        logit = rng.normal(0, 0.7, 20)[people] + rng.normal(0, 0.7, 20)[images] + np.where(second, -0.4, 0.2)
        interval = difference_interval(rng.random(800) < expit(logit), second, people, images)
        held.append(interval.low <= expected <= interval.high)
    assert 0.92 <= np.mean(held) <= 0.99


def test_a_difference_of_groups_that_do_not_vary_leaves_doubt_and_stays_within_bounds():
    people, images = np.repeat(np.arange(10), 20), np.tile(np.arange(20), 10)
    second = np.tile([False, True], 100)
    interval = difference_interval(~second, second, people, images)
    assert interval.high == 1
    assert 0.4 < interval.low < 0.8
    other = difference_interval(second, second, people, images)
    assert (other.low, other.high) == (-1, -interval.low)


def test_answers_that_are_evenly_spread_are_not_worth_more_than_themselves():
    # Every person and every image has one half: the clusters' variance is zero.
    people, images = np.repeat(np.arange(10), 10), np.tile(np.arange(10), 10)
    chosen = (people + images) % 2 == 0
    interval = share_interval(chosen, people, images)
    low, high = wilson(0.5, 100)
    assert interval.low < low and high < interval.high
