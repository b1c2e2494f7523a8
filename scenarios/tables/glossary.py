"""What the words of tables and figures mean, for `carom describe`, `carom list terms` and help in the explorer.

A term is three sentences: what it is, how it is computed, and how to read it or what to beware of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType

DUMB = "Alecci et al. 2023, RAID, arXiv:2306.15363"
MASKING = "Athalye, Carlini and Wagner 2018, arXiv:1802.00420"
LGV = "Gubri et al. 2022, arXiv:2207.13129"
PUBDEF = "Sitawarin, Chang, Huang, Altoyan and Wagner 2024, arXiv:2310.17645"
PROARD = "Mousavi et al. 2025, arXiv:2506.07666"
STATISTICS = "docs/statistics.md"
DEFENSES = "docs/defenses.md"
SURROGATES = "docs/surrogates.md"
ATTACKS = "docs/attacks.md"
GATES = "docs/statistics.md, Gates"


@dataclass(frozen=True, kw_only=True)
class Term:
    """A term, a measure or a method.

    Attributes:
        name: As people say it.
        what: One sentence: what it is.
        how: One sentence: how it is computed, with the formula in plain text.
        beware: One sentence: how to read it, or what to beware of.
        source: The paper behind it; else the page that derives it.
        columns: Columns and choices that show it, where they have another name; "TABLE/COLUMN" in one table only, "*"
            for any letters.
    """

    name: str
    what: str
    how: str
    beware: str
    source: str
    columns: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The three sentences."""
        return f"{self.what} {self.how} {self.beware}"


def term_of(name: str, table: str | None = None) -> Term | None:
    """What a name means: of a term, or of a column or a choice; None where nobody says.

    Args:
        name: Case does not matter.
        table: Where the name stands, as `Table.name`; its own meaning there wins.
    """
    asked = name.casefold()
    if table is not None and (found := _NAMES.get(f"{table}/{asked}")) is not None:
        return found
    if (found := _NAMES.get(asked)) is not None:
        return found
    places = [asked, f"{table}/{asked}"]
    return next((term for pattern, term in _PATTERNS if any(fnmatchcase(p, pattern) for p in places)), None)


def _term(name: str, what: str, how: str, beware: str, source: str, *columns: str) -> Term:
    return Term(name=name, what=what, how=how, beware=beware, source=source, columns=columns)


_ALL = (
    # ------------------------------------------------------------------------------------------------ rates
    _term(
        "ASR",
        "Attack success rate: how often a victim that is right on the clean image is wrong on the adversarial one.",
        "ASR = k / n, with n the images that this victim gets right clean and k those of them on which the attack "
        "succeeds; no answer counts as wrong.",
        "Two victims have two denominators, so compare them by robust accuracy or on the images that both get right.",
        STATISTICS,
        "attack success rate",
        "asr_a",
        "asr_b",
        "ASR, all pairs",
    ),
    _term(
        "n",
        "How many images a rate rests on: those that the victim gets right clean.",
        "n = sum of r_i over images i, with r_i = 1 where the clean answer is right, summed over the cells of a row.",
        "Cells of a row share their images, so a large n is not as many independent trials.",
        STATISTICS,
        "both_right",
        "n, right on clean images",
    ),
    _term(
        "robust accuracy",
        "The share of all images that a victim still answers right when they are attacked.",
        "Robust accuracy = adversarial images answered right / all images, clean errors included.",
        "It does not forgive clean errors as the ASR does; where the two disagree about which victim is better, the "
        "difference is in the denominators.",
        STATISTICS,
        "robust_a",
        "robust_b",
        "accuracy under attack",
        "now",
        "before",
    ),
    _term(
        "clean accuracy",
        "The share of images that a victim answers right when nobody attacks.",
        "Clean accuracy = clean images answered right / all images.",
        "A defence that wins under attack has often paid here.",
        STATISTICS,
        "clean",
    ),
    _term(
        "macro ASR",
        "The ASR in which each class counts alike.",
        "Macro ASR = mean over classes c of k_c / n_c, of the classes with n_c above 0.",
        "Where it is far from the ASR, a few large classes decide the ASR.",
        STATISTICS,
    ),
    _term(
        "ASR of a source",
        "The ASR on the images of one image source only.",
        "ASR of source S = k / n over the images of S; all cells attack the same images, equally from each source.",
        "Where the sources differ, whose images are attacked matters as much as who attacks.",
        STATISTICS,
        "asr:*",
    ),
    _term(
        "target rate",
        "For targeted attacks, how often the victim answers the class that the attacker wants.",
        "Target rate = P(answer is the target given right clean), with a target that is never the label.",
        "It is far below the untargeted ASR for most attacks, so never compare one with the other.",
        STATISTICS,
        "targeted",
    ),
    _term(
        "lift",
        "What an attack gains over noise that knows no surrogate.",
        "Lift = ASR - ASR of sign noise on the same images and victim, with the smallest noise (1/2, 3/4 or eps) "
        "whose mean L2 is at least the attack's.",
        "A lift near 0 says that the victim fails on any change of this size, and not on this attack.",
        STATISTICS,
    ),
    _term(
        "relative transfer",
        "How much of its white-box success an attack keeps on other models.",
        "Relative transfer = ASR / ASR of the very same sets on the surrogate's own model.",
        "It is empty where a set was not judged on its own model, and above 100% the victim is the weaker one.",
        STATISTICS,
        "relative",
    ),
    _term(
        "cell",
        "One adversarial set answered by one victim, the smallest thing that has an outcome.",
        "Cells = adversarial sets x victims; a row of a table pools those that it stands for.",
        "A row of few cells speaks of few pairs of models, however many images they have.",
        STATISTICS,
        "cells",
    ),
    _term(
        "matrix",
        "Who fools whom: a heat map of ASR along any two axes of a run.",
        "A field pools its cells: k / n of their sums, so cells with more clean right answers weigh more.",
        "White boxes (C0) are left out unless asked for, and the controls always.",
        STATISTICS,
        "pick/rows",
        "pick/columns",
        "pick/order",
    ),
    _term(
        "class",
        "The label of an image, and rates on the images of one class only.",
        "ASR of class c = k_c / n_c, over the images of c that the victim gets right clean.",
        "Few images a class make wide intervals, so read n beside each.",
        STATISTICS,
        "pick/class",
    ),
    _term(
        "outcome",
        "What became of one image on one victim: fooled, withstood, or wrong before the attack.",
        "Fooled: right clean and the attack succeeds; withstood: right clean and it does not; wrong clean: not in ASR.",
        "An image that is wrong clean and wrong attacked is no success of the attack.",
        STATISTICS,
        "pick/outcome",
        "pick/outcome on",
    ),
    _term(
        "disagreement",
        "Whether several victims answer one adversarial image alike.",
        "Victims agree on an image if their answers to its adversarial image are one class, and disagree otherwise.",
        "Images that fool all victims say little about any of them.",
        STATISTICS,
        "pick/agreement",
    ),
    _term(
        "level",
        "One value of a condition that surrogates or victims differ in beyond DUMB's three.",
        "Samples, recipe and defence have levels; rows of different levels are kept apart.",
        "Cases are to be compared within one level of each.",
        STATISTICS,
        "pick/levels",
    ),
    _term(
        "method",
        "A way of building a surrogate, of attacking, or of defending.",
        "The registries of attacks, surrogates and defences name each with its paper and defaults.",
        "Compare methods at equal budget and equal cost; `carom describe NAME` says what a name is.",
        "docs/architecture.md",
        "methods",
        "methods and papers",
        "papers",
        "what it is",
        "paper",
        "kind",
    ),
    # ------------------------------------------------------------------------------------------------ who attacks whom
    _term(
        "surrogate",
        "The model or ensemble that the attacker owns, and whose gradients make the adversarial images.",
        "A surrogate is a builder applied to a recipe, a source, a balance, an architecture and a seed.",
        "It is never a victim in the same scenario, its own white box (C0) apart.",
        DUMB,
        "surrogate's configuration",
        "surrogate's group",
        "by surrogate",
    ),
    _term(
        "victim",
        "The model that is judged.",
        "Every victim answers the same stored adversarial images, and its own clean ones.",
        "A victim without a revision of its weights is judged in one run only.",
        DUMB,
        "victim's configuration",
        "by victim",
    ),
    _term(
        "attack",
        "How an adversarial image is made, given something that has gradients or answers.",
        "An iterative attack fills slots by +, such as mi+di+ti; `@10` behind a name is the state after ten steps of a "
        "longer trace.",
        "`carom describe NAME` has the paper and the defaults of each; compare attacks at equal cost and budget only.",
        ATTACKS,
        "attacks",
        "asr over steps",
        "by attack",
    ),
    _term(
        "budget",
        "What an attack may change: a norm and its radius eps.",
        "linf: no pixel changes by more than eps; l2: the Euclidean length of the change is at most eps; pixels are in "
        "[0, 1], so 8/255 are 8 steps of 8 bits.",
        "A success rate without its budget means nothing.",
        "Goodfellow et al. 2015, arXiv:1412.6572",
        "norm",
        "eps",
        "asr over eps",
    ),
    _term(
        "adversarial set",
        "The stored images of one surrogate under one attack, budget and seed.",
        "Images are rounded to 8 bits inside the budget's ball, and verified when they are written.",
        "Each is made once and answered by every victim, so victims differ by nothing but themselves.",
        STATISTICS,
        "sets",
        "set",
        "adversarial",
    ),
    _term(
        "case",
        "What the trainings of surrogate and victim have in common, C0 to C8 of the DUMB testbed.",
        "Number = 1 + [balance differs] + 2 [architecture differs] + 4 [source differs]; C0 is the same weights.",
        "C0 is a white box and no transfer; the published testbed counts it as its C1.",
        DUMB,
        "case",
        "by case",
        "cases",
        "cases by attack",
    ),
    _term(
        "C0",
        "White box: the victim is the surrogate's own model.",
        "The same weights crafted the images and answer them.",
        "It shows that an attack works at all, and takes no part in effects or averages of transfer.",
        DUMB,
        "White box (C0)",
        "white-box",
    ),
    *(
        _term(
            f"C{number}",
            f"The case of the DUMB testbed in which {description}.",
            f"Mismatch {mismatch}: D is the source of the data, B the balance of the classes, M the architecture.",
            beware,
            DUMB,
        )
        for number, mismatch, description, beware in (
            (
                1,
                "none",
                "the victim is another seed of the same source, balance and architecture",
                "The best that an attacker without the weights can hope for; one seed is one pair of trainings.",
            ),
            (2, "B", "only the balance of the classes differs", "Compare it with C1, and not with C0."),
            (3, "M", "only the architecture differs", "Compare it with C1; architectures of one family are nearer."),
            (
                4,
                "B+M",
                "balance and architecture differ",
                "Its attacker has the victim's data source and nothing else.",
            ),
            (5, "D", "only the data source differs", "Compare it with C1, on the images of each source apart."),
            (6, "D+B", "source and balance differ", "Its attacker knows the architecture and nothing else."),
            (7, "D+M", "source and architecture differ", "Its attacker knows the balance and nothing else."),
            (8, "D+B+M", "source, balance and architecture differ", "The attacker who knows nothing but the task."),
        )
    ),
    _term(
        "mismatch",
        "The conditions of training in which surrogate and victim differ.",
        "D is the source of the data, B the balance of the classes, M the architecture; further axes such as recipe "
        "are kept apart, each within one level.",
        "A mismatch counts for the trainings, and not for the images that are attacked.",
        DUMB,
        "mismatch in",
        "axis",
    ),
    _term(
        "source",
        "Where training images come from, the D of DUMB.",
        "Levels: same samples, disjoint samples of one source, another source.",
        "All cells attack the same images, an equal share from each source, so that source is not whose images are "
        "attacked.",
        DUMB,
        "source_s",
        "source_v",
        "source_level",
        "samples_s",
        "samples_v",
        "surrogate's source",
        "victim's source",
        "surrogate's samples",
        "victim's samples",
        "samples",
        "by samples",
    ),
    _term(
        "balance",
        "The shares of the classes in the training images, the B of DUMB.",
        "A profile of K shares with a given total variation from uniform; every balance has the same number of images.",
        "In the published testbed less balance was also fewer images, which is another question.",
        DUMB,
        "balance_s",
        "balance_v",
        "surrogate's balance",
        "victim's balance",
    ),
    _term(
        "architecture",
        "The network that is trained, the M of DUMB.",
        "Two models match if name and settings are equal.",
        "A mismatch within a family is smaller than between families.",
        DUMB,
        "architecture_s",
        "architecture_v",
        "surrogate's architecture",
        "victim's architecture",
    ),
    _term(
        "recipe",
        "How a model was trained: epochs, optimiser, augmentation.",
        "Models match in their recipe if all of its settings are equal; cases are computed within one pair of recipes.",
        "A mismatch of recipes is no mismatch of DUMB, so cases of two recipes are two rows.",
        "docs/zoo.md",
        "recipe_s",
        "recipe_v",
        "surrogate's recipe",
        "victim's recipe",
        "training",
        "trained",
    ),
    _term(
        "reads",
        "Whose gradients or answers an attack had.",
        "surrogate: its own model only; victim: the victim itself, as in a white box or by queries.",
        "Attacks that read the victim are no transfer, so rows of both kinds are kept apart.",
        STATISTICS,
    ),
    _term(
        "public pool",
        "Public models that an attacker uses and a defence may learn from.",
        "Each is seen (the defence may learn from it), held out (of a group with a seen one), of an unseen group, or "
        "in no pool (a stranger).",
        "A defence that learned the pool and not the task falls from seen to stranger.",
        PUBDEF,
        "pool",
        "group",
        "attackers",
        "surrogate's public pool",
        "public model",
        "chosen",
        "defenses by attacker",
    ),
    _term(
        "role",
        "What a model is in a scenario: surrogate, public pool, validation victim or victim.",
        "Each trained model has one role; a model or a training seed in two roles is refused, C0 apart.",
        "What is chosen is chosen on validation images and validation victims, and reported on victims.",
        STATISTICS,
        "model",
        "models/n",
        "models",
    ),
    _term(
        "total variation",
        "A distance between two distributions of classes.",
        "TV(p, q) = 1/2 sum over classes of |p_c - q_c|, from 0 (equal) to 1 (no class in common).",
        "The name tv0.2 is a balance at 0.2 from uniform.",
        "docs/zoo.md",
    ),
    # ------------------------------------------------------------------------------------------------ uncertainty
    _term(
        "interval",
        "A 95% confidence interval: what else the number could be.",
        "One cell: Wilson; rows: bootstrap over images; several seeds: images and seeds, by t or a crossed bootstrap.",
        "`ranges over` says what was drawn; with one seed nothing is claimed about recipes.",
        STATISTICS,
        "95% interval",
        "* 95%",
        "* interval",
        "interval ranges over",
        "T-DEE interval",
        "low",
        "high",
        "defenses intervals",
    ),
    _term(
        "Wilson interval",
        "The interval of a share k of n independent images.",
        "Centre (k + z^2 / 2) / (n + z^2), half-width z / (n + z^2) sqrt(k (n - k) / n + z^2 / 4), with z = 1.96.",
        "It speaks of images and of this pair of models only.",
        STATISTICS,
    ),
    _term(
        "bootstrap over images",
        "An interval for rows whose cells share their images.",
        "Images are drawn anew 2,000 times within each source, each with all of its cells; the interval is the middle "
        "95% of the results.",
        "It is never narrower than a Wilson interval with each image counted once.",
        STATISTICS,
    ),
    _term(
        "t over seeds",
        "An interval that also ranges over training seeds.",
        "h^2 = t^2 V_images + t^2 V_surrogates + t^2 V_victims, with V of seeds the variance of their means / seeds.",
        "Two seeds have t = 12.7, so such an interval is wide and says little, which is no mistake.",
        STATISTICS,
        "seeds",
    ),
    _term(
        "Holm",
        "A correction of p-values for several tests that are reported together.",
        "The smallest of m p-values is multiplied by m, the next by m - 1, and so on, never falling.",
        "A p above 0.05 after Holm is no sign of no effect; for that there is the equivalence test.",
        STATISTICS,
        "p (Holm)",
        "*_p_holm",
    ),
    _term(
        "equivalence test",
        "A test whose finding is that there is no effect to speak of.",
        "Two one-sided tests place the effect between -2 and +2 points, after Holm.",
        "Only a yes here is a finding of no effect; a no says that the data cannot tell.",
        STATISTICS,
        "within ±2",
    ),
    _term(
        "power",
        "How often the equivalence test would say yes if a mismatch cost nothing.",
        "P(within ±2 | no effect), at the strictest step of Holm, with the variance that was found.",
        "A no where power is low says that models or images are too few, and nothing of the effect.",
        STATISTICS,
    ),
    _term(
        "marginal effect",
        "What a mismatch in one condition costs the attacker, everything else alike.",
        "Coefficient of the mismatch in least squares with a constant for each surrogate and victim, within attack, "
        "budget and the other conditions, in points: on a full grid the difference of means; C0 and controls are out.",
        "Its interval ranges over images and trained models; look at the placebo before you believe it.",
        DUMB,
        "effect",
        "ASR match",
        "ASR mismatch",
        "*_difference",
        "effects",
    ),
    _term(
        "effect of a source",
        "The marginal effect on the images of one source only.",
        "The same difference of means, in points, with n and k of that source's images.",
        "Where sources disagree, the effect depends on whose images are attacked.",
        STATISTICS,
        "effect:*",
    ),
    _term(
        "placebo",
        "The effect that the same comparison shows for noise, which knows no surrogate.",
        "Placebo = the weights of the marginal effect applied to the ASR of sign noise of full size.",
        "Anything but 0 is about who the victims are, and is in the effect too; 0 where each victim has a constant.",
        STATISTICS,
    ),
    _term(
        "controls",
        "Checks that run with every scenario and have a known answer.",
        "No change gives ASR 0; the strongest white box succeeds; noise shows no contrast of surrogates; ASR rises "
        "over eps; gradients are not zero; no set leaves its ball.",
        "Do not trust the numbers of a run in which one failed before that is explained.",
        STATISTICS,
        "control",
        "status",
        "expected",
        "came",
    ),
    # ------------------------------------------------------------------------------------------------ strength and cost
    _term(
        "visibility",
        "How much an adversarial image differs from the clean one, beside how often it succeeds.",
        "Mean L2, mean Linf and mean SSIM of a set over its images.",
        "At the same radius attacks differ in L2 and SSIM, and the stronger one is often the more visible.",
        STATISTICS,
    ),
    _term(
        "L2",
        "The Euclidean length of the change, in pixel units of [0, 1].",
        "L2 = sqrt(sum over pixels and channels of (x_adv - x)^2), mean over the images of a set.",
        "Under a linf budget an attack that fills the ball's corners has a larger one.",
        STATISTICS,
    ),
    _term(
        "Linf",
        "The largest change of any pixel, in pixel units of [0, 1].",
        "Linf = max over pixels and channels of |x_adv - x|, mean over the images of a set.",
        "Most linf attacks use all of eps, so it tells them apart less than L2 and SSIM do.",
        STATISTICS,
    ),
    _term(
        "size / eps",
        "The share of its radius that an attack uses.",
        "Size / eps = size of the change in the budget's norm / eps, mean over the images of a set.",
        "Above 1 a set has left its ball, and the control fails.",
        STATISTICS,
        "size/eps",
    ),
    _term(
        "SSIM",
        "Structural similarity of the adversarial image and the clean one, 1 for equal ones.",
        "SSIM = mean over windows of (2 m_x m_y + c1)(2 s_xy + c2) / ((m_x^2 + m_y^2 + c1)(s_x^2 + s_y^2 + c2)), from "
        "means m and (co)variances s, on pixels in [0, 1].",
        "The published testbed took it of normalised images after JPEG, so its values cannot be compared.",
        DUMB,
        "strength against visibility",
    ),
    _term(
        "zero gradient fraction",
        "How often an attack read a gradient that is exactly 0.",
        "Zero gradients / all gradients that were read for a set.",
        "Above 10% the control warns: such an attack had nothing to follow.",
        MASKING,
        "zero gradients",
    ),
    _term(
        "image pass",
        "One image through one network, forward or backward: the unit of cost.",
        "Passes = forward + backward; passes per image of an attack count every member of an ensemble.",
        "Networks differ in what a pass takes, so across architectures look at MACs too.",
        STATISTICS,
        "passes",
        "passes per image",
        "forward",
        "backward",
    ),
    _term(
        "queries",
        "How many answers of its target an attack asked for.",
        "Queries = answers that were asked for, mean over the images of a set.",
        "An attack that queries the victim is no transfer, and stands apart in the tables.",
        ATTACKS,
    ),
    _term(
        "radius",
        "How far the nearest image that fools lies, for attacks that look for the smallest change.",
        "Radius = size of the smallest change that was found, median over the images of a set.",
        "It is of the model that was attacked, and an upper bound of the true distance.",
        ATTACKS,
    ),
    _term(
        "equal cost",
        "The best that can be had for at most P passes, chosen elsewhere than it is reported.",
        "Of the settings that take at most P, the one of the highest ASR on validation victims and images; reported is "
        "its ASR on test.",
        "Never a default that is stretched to P, and the interval does not hold that another validation might have "
        "chosen otherwise.",
        STATISTICS,
        "equal-training-cost/budget",
        "equal-attack-cost/budget",
        "candidates",
        "validation ASR",
        "best within P passes",
        "efficient",
        "best at its cost",
        "equal training cost",
        "equal attack cost",
    ),
    _term(
        "training passes",
        "What everything took that a model rests on, in image passes.",
        "Training passes = forward + backward, of all trainings, shared ones in full; mean over seeds.",
        "Public models of a pool are not counted, as somebody else trained them.",
        STATISTICS,
        "cost",
    ),
    _term(
        "trainings",
        "The cost of a surrogate in trainings of a single network.",
        "Trainings = its training passes / those of a single network on the same base.",
        "An ensemble of four trained apart is 4; cheap builders are to be compared with ensembles that cost as much.",
        SURROGATES,
        "asr against cost",
        "surrogates",
    ),
    _term(
        "seconds",
        "The time that it took, as it came.",
        "Wall-clock seconds of the jobs, mean over seeds.",
        "The machine did other work too, so compare passes and not seconds.",
        STATISTICS,
    ),
    _term(
        "parameters",
        "The numbers that have to be stored.",
        "Parameters = numbers in all weight sets of a model.",
        "Weight sets of one training cost storage as those of many trainings do.",
        STATISTICS,
    ),
    _term(
        "MACs",
        "Multiplications with addition that one image takes, a cost of answering.",
        "MACs = sum over layers of output values x inputs of each, for one image forward.",
        "They are no seconds: memory and parallelism decide as much.",
        DEFENSES,
        "size of the points",
    ),
    # ------------------------------------------------------------------------------------------------ surrogates
    _term(
        "T-DEE",
        "How many networks trained apart transfer as well as a surrogate does.",
        "The smallest size at which a rising line through the ASR of ensembles of 1, 2, ... networks reaches the "
        "surrogate's ASR.",
        "Nothing is extrapolated: <1 is worse than one network, >K better than the largest ensemble.",
        "Gubri et al. 2022, arXiv:2011.05074",
        "t dee",
    ),
    _term(
        "flatness",
        "How little the loss rises when the weights move, which papers explain transfer with.",
        "Measured as the Hessian's top eigenvalue and trace in the weights, and as the loss along random rays.",
        "It goes with transfer in some families of builders and not across all, so look at the figure before "
        "anything is explained by it.",
        LGV,
        "geometry measure",
        "geometry",
        "flatness against transfer",
    ),
    _term(
        "top eigenvalue",
        "The sharpest direction of the loss in the weights.",
        "The eigenvalue of largest magnitude of the Hessian of the mean loss on training images, by iteration; batch "
        "norm in eval mode.",
        "It depends on how weights are scaled, so compare within one architecture.",
        LGV,
    ),
    _term(
        "trace",
        "The sharpness of the loss summed over all directions of the weights.",
        "Hutchinson's estimate: mean of v' H v over random v with entries of -1 and 1.",
        "It depends on how weights are scaled, so compare within one architecture.",
        LGV,
    ),
    _term(
        "loss along rays",
        "How much loss there is a given way off in random directions of the weights.",
        "Mean loss at the end of random directions from the weights, as long as 0.02 sqrt(number of parameters).",
        "Read it beside the loss itself, from which the rays start.",
        LGV,
    ),
    _term(
        "gradient norm",
        "How steep the loss is in the image.",
        "Mean over images and weight sets of the L2 norm of the gradient of the loss in the image.",
        "It is small where the surrogate is smooth, and where its loss is saturated; the loss tells which.",
        SURROGATES,
    ),
    _term(
        "alignment",
        "How alike the weight sets of a surrogate see an image.",
        "Mean over pairs and images of the cosine of their gradients in the image.",
        "Near 1 they are one network for an attack, and an ensemble of them gains little.",
        SURROGATES,
    ),
    _term(
        "loss variance",
        "How differently the weight sets of a surrogate judge an image.",
        "Variance of an image's loss over weight sets, mean over images.",
        "Diversity is worth something only while each weight set is still accurate.",
        SURROGATES,
    ),
    _term(
        "weight dimensions",
        "In how many directions the weight sets of a surrogate differ.",
        "Effective number = (sum of variances)^2 / sum of their squares, over principal components.",
        "It cannot exceed the number of weight sets less one.",
        SURROGATES,
    ),
    _term(
        "loss",
        "Cross-entropy of the surrogate on its own training images.",
        "Mean over images of -log of the probability of the label.",
        "Measures of geometry are to be compared at like losses.",
        SURROGATES,
    ),
    _term(
        "training accuracy",
        "The share of its own training images that a surrogate answers right.",
        "Right answers / training images that were looked at.",
        "It is no accuracy on new images.",
        SURROGATES,
        "geometry/accuracy",
    ),
    # ------------------------------------------------------------------------------------------------ defences
    _term(
        "defence",
        "How a victim was hardened: trained differently, distilled, or wrapped.",
        "A defence is a training recipe or a chain of stages and wrappers, such as pgd-at -> jpeg.",
        "Compare defences at equal clean accuracy or equal cost, under transfer and in the white box.",
        DEFENSES,
        "defense",
        "configuration",
        "defense_s",
        "defense_v",
        "victim's defence",
        "defenses",
        "defenses by victim",
    ),
    _term(
        "average pair",
        "Accuracy under transfer for an attacker who picks a pair of source and attack at random.",
        "Mean of right answers over all sets of all pairs and all images.",
        "Weak pairs raise it, so it depends on which pairs a scenario names.",
        PUBDEF,
        "average",
        "average transfer pair",
    ),
    _term(
        "best pair",
        "Accuracy under the strongest pair of a source and an attack: the headline number of a defence under transfer.",
        "Best = accuracy on test under the pair that is lowest for this victim on validation images.",
        "Chosen on test it would be too low by chance; without validation outcomes it is not run.",
        PUBDEF,
        "best",
        "best transfer pair",
        "best-attack accuracy",
        "transfer",
        "transfer and white box over clean accuracy",
    ),
    _term(
        "worst of each image",
        "Accuracy for an attacker who picks the pair anew for each image.",
        "Worst = images answered right under every set / all images.",
        "More pairs make it lower, so compare rows of equal pairs.",
        DEFENSES,
        "worst",
        "any transfer pair, worst of each image",
    ),
    _term(
        "pairs",
        "How many sources and attacks a defence has met.",
        "Pairs = sources x attacks whose sets a victim answered within one budget; targeted sets and decoys are none.",
        "The minimum over more pairs is lower, whatever the defence.",
        DEFENSES,
    ),
    _term(
        "white box",
        "Accuracy under attacks on the victim's own weights.",
        "White box = min over the attacks on the victim itself of accuracy over all images.",
        "It should be the least of all; where transfer leaves less, gradients are masked or the white box is too weak.",
        DEFENSES,
        "white-box attack",
        "white box attacks",
    ),
    _term(
        "white-box worst",
        "Accuracy for an attacker who has the weights and picks the attack anew for each image.",
        "Images answered right under every attack on the victim itself / all images.",
        "It is an upper bound of what the victim keeps against all attacks.",
        DEFENSES,
    ),
    _term(
        "masking alarms",
        "Signs that gradients are masked, so that attacks with gradients prove little.",
        "Each is an attack that is weaker than one with less power: many steps than one, gradients than queries, white "
        "box than transfer; also zero gradients, and two answers to one image.",
        "With one, trust neither white box nor transfer before it is explained; none is no proof of the contrary.",
        MASKING,
        "alarms",
        "sign",
        "signs of masked gradients",
        "masking",
    ),
    _term(
        "label leaking",
        "A network that reads the label from the perturbation, as it was trained on perturbations made with labels.",
        "Signs: gain = best pair - clean accuracy above 0, many clean errors corrected, low accuracy on decoys.",
        "Its accuracy under attack is then not robustness.",
        PUBDEF,
        "gain",
    ),
    _term(
        "corrected",
        "How often an attack turns a wrong answer into a right one.",
        "Corrected = P(right under the best pair given wrong clean).",
        "About 0 for a network that only looks at the image; large where labels leak.",
        DEFENSES,
        "corrected, all pairs",
    ),
    _term(
        "decoy",
        "Accuracy on images that were attacked as if another class were theirs.",
        "Decoy = images answered right / all, of sets crafted with a wrong label.",
        "Nearly clean accuracy for a network that looks at the image; low beside it, the network reads perturbations.",
        DEFENSES,
    ),
    _term(
        "left to the others",
        "How strong a public model's attacks are on the rest of the pool.",
        "Mean accuracy of the other public models under PGD made on this one, on validation images.",
        "Of each group the one that leaves the others least is chosen to learn from.",
        PUBDEF,
        "left to itself",
        "public sources",
    ),
    _term(
        "game value",
        "What the best mixture of defences keeps, whatever pair of source and attack comes.",
        "v = max over mixtures p of min over pairs j of sum_i p_i A_ij, with A the accuracy of defence i under pair j.",
        "It is made of test numbers, for analysis; nothing is chosen by it.",
        PUBDEF,
        "value",
        "plays",
        "probability",
        "against the mix",
        "side",
        "game/worst",
        "game",
    ),
    _term(
        "early-student front",
        "The students of ProARD's elastic network that no other beats.",
        "Front = students for which no other is at least as good in accuracy, robust accuracy and MACs, and better in "
        "one, of those that `carom students` measured on validation images.",
        "The best of many looks better than it is: export it, and judge it as a victim on test images.",
        PROARD,
        "student",
        "students",
        "students/accuracy",
        "students/robust accuracy",
        "students/MACs",
        "network of students",
    ),
    # ------------------------------------------------------------------------------------------------ gates
    _term(
        "suite",
        "A frozen, portable file of adversarial sets that a model is tested with.",
        "Clean images, labels and S sets of the same n images, each with its digest; `carom suite build` makes one.",
        "Results on two suites cannot be compared.",
        GATES,
        "sets of a suite",
    ),
    _term(
        "gate",
        "A test that fails when a new model is less robust than the one before it.",
        "d_i = r_i(before) - r_i(now), with r_i the share of a suite's sets of image i that are answered right; red "
        "where the lower bound of the mean drop is above the allowance.",
        "It judges the model at hand on one suite, and says nothing about its recipe.",
        GATES,
        "test",
        "verdict",
        "drop",
        "baseline",
    ),
    _term(
        "allowance",
        "The drop of robust accuracy that a gate lets pass.",
        "A share of images: 0.02 is 2 points; `carom suite calibrate` proposes t(k - 1) sd sqrt(2) of k trainings.",
        "Trainings that differ in their seed alone differ by points, so an allowance of 0 finds chance.",
        GATES,
        "allowed",
    ),
    _term(
        "floor",
        "The robust accuracy that a model must keep, whatever the baseline was.",
        "Weaker where the upper bound of robust accuracy is below the floor, holds where the lower bound reaches it.",
        "Small drops add up over versions; a floor stops them.",
        GATES,
    ),
    _term(
        "cannot tell",
        "A gate's verdict where the images are too few to say weaker or holds.",
        "Lower bound of the drop <= allowance < upper bound.",
        "It passes with a warning that says how many images would settle it, and is red if strict.",
        GATES,
    ),
    # ------------------------------------------------------------------------------------------------ runs
    _term(
        "published rates",
        "Rates of others, imported to stand beside one's own.",
        "Means over rows, each one attack, surrogate and victim, as published, without images or intervals.",
        "Other tasks, networks and strengths: compare the order of the cases and not the numbers.",
        "DUMBer, arXiv:2506.18516",
        "rows",
        "their case",
        "published/*",
    ),
    _term(
        "wrong filter",
        "Published rows whose denominator holds clean errors.",
        "Rows across sources whose recovered denominators are all images, where the victim is known to err clean.",
        "Their ASR counts clean errors as successes, so read the adjusted one.",
        STATISTICS,
    ),
    _term(
        "adjusted",
        "A published rate as if clean errors had been left out.",
        "Adjusted = (ASR - e) / (1 - e), with e = 1 - clean F1 of the victim on the source of the images.",
        "F1 stands in for accuracy, so it is approximate.",
        STATISTICS,
        "adjusted effect",
    ),
    _term(
        "run",
        "One scenario and what came of it in one store.",
        "Its cells are planned from the scenario's grid, and only what the store lacks is computed.",
        "Tables of a run that is not done rest on what is there, and move.",
        STATISTICS,
        "second run",
        "store",
        "task",
        "state",
        "started (UTC)",
        "cells with an outcome",
        "failed",
    ),
    _term(
        "images",
        "The clean images that every cell of a run attacks.",
        "A fixed number from each image source, drawn once.",
        "All cells share them, so intervals draw images and not cells.",
        STATISTICS,
        "clean image",
    ),
    _term(
        "failure",
        "Why a job or a cell has no outcome.",
        "Each failed attempt is kept with its reason; the rest of the run goes on.",
        "Run the scenario again to try it once more; nothing is computed twice.",
        STATISTICS,
        "reason",
        "failures",
        "job",
        "label",
        "finished",
        "failed jobs",
    ),
)

TERMS: Mapping[str, Term] = MappingProxyType({term.name: term for term in _ALL})
"""By name."""

_NAMES: Mapping[str, Term] = {
    **{column.casefold(): term for term in reversed(_ALL) for column in term.columns if "*" not in column},
    **{term.name.casefold(): term for term in _ALL},
}
_PATTERNS = [(column.casefold(), term) for term in _ALL for column in term.columns if "*" in column]
