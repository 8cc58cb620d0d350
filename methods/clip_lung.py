"""CLIP-Lung: a classifier trained beside contrasts of grouped feature maps with class and attribute texts.

Paper: Lei et al., CLIP-Lung: textual knowledge-guided lung nodule malignancy prediction, MICCAI 2023, pp. 403-412,
doi 10.1007/978-3-031-43990-2_38. Equation numbers are the paper's.

Symbols: F_t -> groups (16 vectors of D); l_t -> prompts.context; h, l'_t = h(F_t / |F_t|) -> prompts.meta_net;
    C_k -> class features of "l_1+l'_1 .. l_16+l'_16 class_k."; A_m -> attribute_features; v -> ratings, w = softmax(v)
    (1) -> weights; ln(1/tau) -> logit_scale; L = L_CE + L_IC + alpha L_IA + beta L_CA (5).
Choices where the paper is silent:
    T = 16 is the only number of vectors of d = 512 in a 512 x 4 x 4 map. Group t is the map's t-th sixteenth of the
    channels, flattened: channels t D/16 up to (t+1) D/16, each with its 16 places.
    The classifier sees the map's spatial mean, as CE's does: it starts from the same weights and predicts at the
    same cost.
    L_CE is in every row of Table 3: (5) always has it, the table ticks only the others, and without it no gradient
    would reach the classifier that predicts.
    The context starts at N(0, 0.02), CoOp's choice where no words are given: sixteen tokens fit no phrase.
Deviations, each with the printed form as an option unless it says otherwise:
    (3) and (4) as printed (`attribute_loss="literal"`) do not do what the text says. A cosine ignores the length of
    w_m A_m, so the weights cancel; and a sum of -log softmax over all m is least where all attributes are equally
    close. The default, "soft_target", weighs the log softmax by w: its optimum is softmax = w, and uniform weights
    give the printed sum over M T. "scaled_logit" multiplies the logits by w and sums over all m.
    L_IC is averaged over the groups, and "soft_target" over the rows, where the paper sums, so that alpha and beta
    weigh terms of one size. `sums=True` gives the sums of (2) to (4): L_IC times T = 16, and the soft targets times
    their rows and times M = 8, which is (3) and (4) where all weights are equal.
    The context precedes the class, as in CoCoOp and the released code; `class_first=True` is the paper's c_k + l.
    h sees F_t scaled to length one (released code), no option; its last layer starts at zero (_prompts.py). Weight
    decay spares the temperature.
Defaults: alpha = 1, beta = 0.5, tau from 0.07, learned (paper), between 0.01 and 1 (CLIP's code); hidden layer D/16
    (CoCoOp). attr_scale = "raw" is (1) on the mean ratings. Not all of LIDC's rise with their word: calcification 6 is
    "absent", which most nodules have, so that the raw softmax gives calcification 53 % of the weight, averaged over
    the collection. "presence" maps each to 1 (absent) .. 5 (present) before (1). Calcification and internal structure
    are names and no scales: whatever is not "absent", or not soft tissue, is fully present, and a mean rating within
    one step of it, which can only come from readers who disagree, lies between.
    Attribute texts are "word.", with the full stop of the class texts.
Controls: with `shuffled`, attribute m meets the text of attribute pi(m), or class k that of class pi(k), in every loss.
    pi leaves nothing in its place and comes from `shuffle_seed` alone, so all fits share it. Ratings and labels keep
    their meaning. L_CA is a mean over the classes, so shuffled classes change L_IC alone.
Ratings that cannot be relied on: LIDC's notes say that some 100 of its first 399 cases have inconsistent spiculation
    and lobulation; `Batch.trusted` is False for both in every scan of that release. The paper says nothing of it, and
    the default counts all ratings. `trusted_only=True` leaves what is not trusted out of that nodule's attribute
    losses: of the softmax of (1), of the softmax over the attribute texts, and of the sum. Other nodules keep all
    eight, and where everything is trusted it is the default to the last bit. `sums` multiplies by M = 8 all the same.
Worth knowing: a learned temperature gives the printed (3) and (4) an easier way to their least value: a high tau makes
    all attributes nearly equally close.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Json, Method, Task
from methods._attributes import ATTRIBUTE_LOSSES, attribute_loss, attribute_weights, presence, require_attributes
from methods._encoder import Encoder
from methods._prompts import (
    GROUPS,
    ConditionalPrompts,
    derangement,
    group_channels,
    image_class_loss,
    random_context,
    require_four_by_four,
)
from methods._text import bounded, cosine_logits, encode_texts, shared_tower

LOSSES = ("ic", "ia", "ca")
ATTR_SCALES = ("raw", "presence")
TEXTS = ("attributes", "classes")


class ClipLung(Method):
    """Encoder, spatial mean, one linear layer; texts in training only.

    Args:
        task: What to work on.
        losses: Which of L_IC, L_IA and L_CA to add to L_CE: `"ic"`, `"ia"`, `"ca"`.
        alpha: Weight of L_IA.
        beta: Weight of L_CA.
        attribute_loss: The variant of (3) and (4): `"soft_target"`, `"literal"` or `"scaled_logit"`.
        attr_scale: Ratings as they are (`"raw"`), or all rising with the word (`"presence"`).
        class_first: Put the class before the context.
        trusted_only: Leave ratings that cannot be relied on out of L_IA and L_CA.
        sums: Sum over groups, classes and attributes, as (2) to (4) do, where the default averages.
        shuffled: Which texts stand for another attribute or class: `"attributes"`, `"classes"`.
        shuffle_seed: Decides for which.
    """

    title = "CLIP-Lung"
    reads_text = True
    no_weight_decay = ("logit_scale",)
    attribute_features: Tensor

    def __init__(
        self,
        task: Task,
        losses: Sequence[str] = LOSSES,
        alpha: float = 1.0,
        beta: float = 0.5,
        attribute_loss: str = "soft_target",
        attr_scale: str = "raw",
        class_first: bool = False,
        trusted_only: bool = False,
        sums: bool = False,
        shuffled: Sequence[str] = (),
        shuffle_seed: int = 0,
    ) -> None:
        super().__init__()
        if not losses or set(losses) - set(LOSSES):
            raise ValueError(f"CLIP-Lung's losses must be some of {', '.join(LOSSES)}, not {losses!r}")
        if set(shuffled) - set(TEXTS):
            raise ValueError(f"CLIP-Lung's shuffled texts must be some of {', '.join(TEXTS)}, not {shuffled!r}")
        for name, value, known in (
            ("attribute_loss", attribute_loss, ATTRIBUTE_LOSSES),
            ("attr_scale", attr_scale, ATTR_SCALES),
        ):
            if value not in known:
                raise ValueError(f"CLIP-Lung's {name} must be one of {', '.join(known)}, not {value!r}")
        require_attributes(task)
        require_four_by_four(task)
        tower = shared_tower(task)
        self.tower_metadata = tower.metadata()
        self.losses, self.alpha, self.beta, self.sums = tuple(losses), alpha, beta, sums
        self.trusted_only = trusted_only
        self.variant, self.attr_scale, self.attribute_names = attribute_loss, attr_scale, task.attribute_names
        self.encoder = Encoder(task)
        self.classifier = nn.Linear(self.encoder.width, task.num_classes)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        words = {"attributes": task.attribute_names, "classes": task.class_names}
        for which in set(shuffled):
            words[which] = tuple(words[which][place] for place in derangement(len(words[which]), shuffle_seed))
        attributes = encode_texts(tower, [f"{name}." for name in words["attributes"]])
        self.register_buffer("attribute_features", attributes, persistent=False)
        self.prompts = None
        if {"ic", "ca"} & set(losses):
            context = random_context(GROUPS, tower.width)
            self.prompts = ConditionalPrompts(tower, words["classes"], context, class_first)

    def metadata(self) -> dict[str, Json]:
        """Return which text tower it is."""
        return {"text_tower": self.tower_metadata}

    def weights(
        self,
        ratings: Float[Tensor, "batch attributes"],
        counted: Bool[Tensor, "batch attributes"] | None = None,
    ) -> Float[Tensor, "batch attributes"]:
        """Return the attributes' weights (1), over those that count."""
        scaled = presence(ratings, self.attribute_names) if self.attr_scale == "presence" else ratings
        return attribute_weights(scaled, counted)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return L_CE and the chosen terms, times alpha and beta."""
        maps, scale = self.encoder(batch.images), bounded(self.logit_scale)
        groups, counted = group_channels(maps), batch.trusted if self.trusted_only else None
        fixed = self.attribute_features, self.weights(batch.attributes, counted), scale, self.variant, counted
        terms = {"ce": functional.cross_entropy(self.classifier(maps.mean(dim=(2, 3))), batch.labels)}
        if self.prompts is not None:
            classes = self.prompts(groups)
            if "ic" in self.losses:
                logits = cosine_logits(groups, classes[:, None], scale)
                terms["ic"] = self._times(GROUPS) * image_class_loss(logits, batch.labels).mean()
            if "ca" in self.losses:
                terms["ca"] = self.beta * self._rows(classes) * attribute_loss(classes, *fixed).mean()
        if "ia" in self.losses:
            terms["ia"] = self.alpha * self._rows(groups) * attribute_loss(groups, *fixed).mean()
        return terms

    def _times(self, count: int) -> int:
        """Return what turns a mean over so many into what was asked for."""
        return count if self.sums else 1

    def _rows(self, features: Tensor) -> int:
        """Return the same for soft targets; the other variants are sums as printed."""
        counted = features.shape[1] * len(self.attribute_names)
        return self._times(counted) if self.variant == "soft_target" else 1

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the classifier's softmax; no text is read."""
        logits: Tensor = self.classifier(self.encoder.pooled(images))
        return logits.softmax(dim=1)
