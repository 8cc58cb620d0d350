"""CORF, convolutional ordinal regression forest: differentiable trees whose leaves answer "is the class above k?".

Paper: Zhu et al., Convolutional ordinal regression forest for image ordinal estimation, IEEE TNNLS 33(8):4084-4095,
2022, arXiv 2008.03077. Machinery: Shen et al., NIPS 2017 and CVPR 2018 (see `_forest.py`).

Symbols: u -> units; phi_r -> node_maps; s_n = sigmoid(u_phi(n)) -> the chance to go left; mu -> routing;
    q_{l,c} = P(y > c | leaf l) -> leaves (stored with 1 - q as a pair of answers); g = sum_l mu_l q_l -> a tree's
    answers. The trees' mean loss is trained on; the mean of their answers predicts.
Deviations: a decision is the median after the running minimum below, not the bare count of answers above 1/2, which
    differs where answers are out of order. Only the abstract of the paper could be read: this is the cited machinery
    with K-1 Bernoulli leaves.
    The leaves start at random distributions where public code starts uniform: uniform leaves give the same answers
    whatever the routing, so the first epoch would pass no gradient to the network. They are re-estimated once an epoch
    on the whole training set, where public code uses the last 50 mini-batches every 50 steps.
Defaults: units = 128, 5 trees, depth 5 (32 leaves, "depth 6" counting levels of nodes) and 20 leaf updates are public
    code's for LDLF; CORF's own, and those used for LIDC, are unknown. leaf = "bernoulli", the paper's K-1 binary
    problems; "categorical" (LDLF's leaf) has one distribution over the classes per leaf.
Worth knowing: leaves are estimated per question, so nothing keeps P(y > c) falling with c, in a leaf or in the
    forest: a running minimum over c restores the order before the differences become class probabilities. Categorical
    leaves keep it by construction. For two classes both kinds are the same model.
"""

from methods._forest_method import LEAVES, ForestMethod, answers_of, log_probs

__all__ = ["LEAVES", "OrdinalForest", "answers_of", "log_probs"]


class OrdinalForest(ForestMethod):
    """Encoder, spatial mean, one layer of units, a forest on top."""

    title = "CORF"
