"""Every technical word of the page, once: the entries that open in the text and stand at its end."""

from dataclasses import dataclass
from typing import Literal

from prudent.report.reading import Run


@dataclass(frozen=True)
class Entry:
    """A word with its definition.

    Args:
        name: the plain word, with the field's own.
        text: what it means, in one to three sentences.
        needs: what a run must have for the word to occur; "" = always there.
    """

    name: str
    text: str
    needs: Literal[
        "", "ood", "dropout", "doubt", "seeds", "weights", "control", "rewind", "compared", "resplits", "teams", "suite"
    ] = ""


GLOSSARY = {
    "sparsity": Entry(
        "Removed (sparsity)",
        "Share of the prunable units, weights or channels, that were taken out. 87.5 % removed means one in eight is "
        "left.",
    ),
    "disagreement": Entry(
        "Differs from dense (disagreement)",
        "The pruned network decides for another class than the dense one. No labels are needed to see it, so it can be "
        "certified on any unlabelled examples of the task.",
    ),
    "certification": Entry(
        "Unseen examples (certification split)",
        "Examples set aside before anything was trained, pruned or chosen, and used for the certificates alone.",
    ),
    "pvalue": Entry(
        "p-value",
        "At most so often would luck let a network that breaks the limit look this good on so many examples. Small is "
        "strong evidence. A candidate passes when its p-value is at most δ.",
    ),
    "walk": Entry(
        "Walk (fixed-sequence testing)",
        "Candidates are tested from the densest to the sparsest, each at level δ, and the first that does not pass "
        "ends the walk. The order is fixed beforehand, so the walk certifies a network that breaks the limit with "
        "probability at most δ, however many candidates there are.",
    ),
    "upper": Entry(
        "Upper limit (pointwise)",
        "The smallest limit that one network by itself could have been shown to keep (one-sided, Clopper-Pearson). It "
        "is not certified for the selected network: the walk picked that one because it did well.",
    ),
    "ece": Entry(
        "Calibration gap (ECE)",
        "Average difference between how sure the network says it is and how often it is right, over equal-width bins "
        "of stated confidence. 0 is perfect; few predictions make it larger by luck.",
    ),
    "bins": Entry(
        "Bins",
        "Predictions are grouped by stated confidence in equal steps from 0 to 1; a confidence of exactly 1 belongs to "
        "the last.",
    ),
    "nll": Entry(
        "Log loss (NLL)",
        "Mean of minus the natural logarithm of the probability that was given to the true class. One prediction that "
        "is sure and wrong costs much.",
    ),
    "brier": Entry(
        "Brier score",
        "Mean squared difference between the predicted probabilities and the truth, summed over the classes: 0 is "
        "perfect, 2 is worst.",
    ),
    "auroc": Entry(
        "Telling strangers apart (AUROC)",
        "Probability that the network is surer on a random example of the task than on a random stranger. 1 is "
        "perfect, 0.5 is guessing.",
        "ood",
    ),
    "fpr-ood": Entry(
        "Strangers let in (FPR95)",
        "Share of strangers that are accepted when the threshold accepts 95 % of the task's examples.",
        "ood",
    ),
    "fpr-id": Entry(
        "Task turned away (FPR95)",
        "Share of the task's examples that are turned away when the threshold turns away 95 % of strangers. Both "
        "numbers are called FPR95 in the literature.",
        "ood",
    ),
    "stranger": Entry(
        "Strangers (out of distribution, OOD)",
        "Examples that are not from the task. The network has no class for them and must still name one.",
        "ood",
    ),
    "entropy": Entry(
        "Uncertainty (predictive entropy)",
        "Entropy of the predicted probabilities, averaged over dropout samples, in nats: 0 where one class gets all.",
        "dropout",
    ),
    "mi": Entry(
        "Doubt under dropout (mutual information)",
        "How much the network contradicts itself when dropout stays on at prediction: its doubt about its own weights, "
        "in nats. 0 where all samples agree.",
        "dropout",
    ),
    "uce": Entry(
        "Entropy and errors apart (UCE)",
        "Average difference between the entropy, as a share of the most there can be, and how often the network is "
        "wrong, over equal-width bins of entropy. 0 says that uncertainty is the error rate. A network that is well "
        "calibrated need not have 0.",
        "doubt",
    ),
    "inside": Entry(
        "Temperature inside the mean",
        "One number that divides the logits of every dropout sample before their probabilities are averaged. Above 1: "
        "the samples were too sure. It changes how far they agree, and may change decisions.",
        "doubt",
    ),
    "macs": Entry(
        "Multiply-adds (MACs)",
        "Arithmetic for one input. Promised: a removed weight counts as no work. Executed: what ordinary hardware "
        "does, which multiplies by the zeros too.",
    ),
    "control": Entry(
        "Random control",
        "Removes as many units from each layer as the method it follows, chosen blindly. A method is worth what it "
        "gains over this.",
        "control",
    ),
    "chance": Entry(
        "Chance (of sharing units)",
        "What a mask that keeps as many units, but any of them, would share on average: the share of units that the "
        "other mask keeps. By layer: any units of each layer, as many as the method keeps there.",
        "compared",
    ),
    "resplit": Entry(
        "Resplits, and wrong certificates",
        "Examples that were not trained on are divided anew, many times: some for a certificate, and all of them "
        "together as the truth. A certificate is wrong when its network breaks the limit over all of them. That may "
        "happen in a share δ of certificates.",
        "resplits",
    ),
    "potential": Entry(
        "Prune potential",
        "The largest share that can be removed while a network makes at most so many errors more than the dense one on "
        "a task. It is picked on the examples that it speaks of: a description, not a promise. Of strangers: those let "
        "in where 95 % of the task's examples are.",
        "suite",
    ),
    "mce": Entry(
        "Corruption error (mCE)",
        "Errors on corrupted images as a multiple of the dense network's, mean over the kinds of corruption; 1 is as "
        "bad as dense. Relative: of the errors that corruption adds to those on clean images.",
        "suite",
    ),
    "exemplar": Entry(
        "Forgotten (compression-identified exemplars)",
        "Test images that most of the pruned networks decide otherwise than most of the dense ones, over the seeds. "
        "With few seeds many of them are those that differ between any two networks. A tie is no difference.",
        "suite",
    ),
    "paired": Entry(
        "Change, seed by seed",
        "Pruned less dense, each network beside the dense one that it came from, in points or in the measure's unit. "
        "Small: from five seeds on the 95 % t interval of the mean difference, with fewer the lowest and highest one. "
        "Bold: from five seeds on, not 0 after a correction (Bonferroni) for all rows of the table.",
        "suite",
    ),
    "hurt": Entry(
        "More than luck, after looking at many",
        "Paired test on the same examples: had the two networks changed places on an example, it would have looked as "
        "likely (of strangers, to first order). The p-value is corrected (Holm) for all classes, corruptions and sets "
        "that were looked at for this network; not for looking at several networks.",
        "suite",
    ),
    "rewind": Entry(
        "Rewound",
        "The surviving weights are set back to their values before training and trained again: a lottery ticket.",
        "rewind",
    ),
    "team": Entry(
        "Team, and its cost",
        "Some of the networks of a pool, which answer together. Its cost is how many of the pool's networks it has: "
        "a team of 2 of 8 costs 25 %.",
        "teams",
    ),
    "focal": Entry(
        "Diversity, and focal diversity",
        "How differently the members of a team answer. Focal diversity looks, member by member, only at the examples "
        "that this member gets wrong: there the others are needed.",
        "teams",
    ),
    "bitmask": Entry(
        "1-bit mask",
        "One bit for each original weight says whether it is kept; beside it only the kept weights are stored.",
        "weights",
    ),
    "spread": Entry(
        "Spread (of dense seeds)",
        "Standard deviation of a measure over the dense networks of different seeds: how much networks differ when "
        "nothing is pruned.",
        "seeds",
    ),
    "luck": Entry(
        "Clear, and no clear change",
        "Clear is a change of the mean that is larger than what as many other dense networks would show in 19 of 20 "
        "cases (Student's prediction limit). In a long list one in twenty passes that by luck.",
        "seeds",
    ),
}


def glossary(run: Run) -> dict[str, Entry]:
    """The entries that the page of this run uses."""
    there = {
        "": True,
        "ood": run.has_ood,
        "dropout": run.has_dropout,
        "doubt": all("uce" in network.get("mc_metrics", {}) for network in run.results["networks"]),
        "seeds": len(run.seeds) > 1,
        "weights": any(m.granularity == "weight" for m in run.methods),
        "control": any(m.control_of is not None for m in run.methods),
        "compared": run.study["evaluation"].get("compare_with") is not None,
        "teams": bool(run.results.get("teams")),
        "resplits": bool(run.results.get("resplits")),
        "suite": "suite" in run.results,
        "rewind": any(m["rewind"] == "init" for m in run.study["methods"]),
    }
    return {key: entry for key, entry in GLOSSARY.items() if there[entry.needs]}
