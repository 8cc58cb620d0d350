"""MV-DAR, multi-view divide-and-rule: who may teach what, by how far a nodule's readers agree. A reconstruction.

Paper: Liao, Xie, Hu, Xia, Learning from ambiguous labels for lung nodule malignancy prediction, IEEE TMI
41(7):1874-1884, 2022, arXiv 2104.11436. The CLIP-Lung paper (Lei et al., MICCAI 2023) gives its
accuracy on LIDC-A in the text: 57.3 without and 58.9 with the textual branch.

Symbols: for each view v of three: F, F_CF, F_LR -> the maps of Prd-Net, CF-Net and LR-Net (encoders of their own);
    a = sigmoid(1x1 convolution of a map) -> attention, one number a place;  CR, IC, LR -> `_readers.divide`;
    p_v = softmax of Prd-Net's layer on mean(F (1 + a_LR) (1 - a_CF));  p = mean over v of p_v -> probabilities.
A reconstruction: of the paper only the abstract was read, and no code was found. From the abstract: the three sets;
three submodels for three orthogonal views, each of three networks that learn on one set each; that inconsistent labels
tell what all annotators exclude; a negative attention from CF-Net and a consistent one from LR-Net to Prd-Net. Our
readings:
    Sets: each score is a class as in ldl.py. CR: two or more readers of one class; IC: readers of different classes;
    LR: one reader. A nodule whose class was given without scores is in CR: there is no sign of doubt. Where the task
    has two classes, "unsure" is a class of its own here: readers who differ among two classes exclude none.
    Losses: cross-entropy on CR (Prd-Net) and on LR (LR-Net), with the nodule's label, which is its readers' class. On
    IC (CF-Net, which answers in benign, unsure, malignant whatever the task) the complementary-label loss, the mean of
    -ln(1 - p_k) over the excluded k; a nodule of whose classes none is excluded has no part in it.
    Each loss is a mean over the batch's members of its set, as if the network were trained on that alone. Terms have
    weight one and are summed over networks and views. All networks see all nodules, which their batch normalisations
    count; a set without a member in the batch adds zero.
    Attention: CF-Net and LR-Net weigh their own map by their attention before the mean that their layer reads; that
    is how it learns. Prd-Net's map is multiplied by 1 + a_LR (consistent) and 1 - a_CF (negative). Both come detached:
    a network learns on its set alone, and Prd-Net's loss must not teach CF-Net where to look.
    Views: the planes through the centre across slices, rows and columns (axial, coronal, sagittal), one channel each.
    The centre of an even number lies between two planes: their mean, which mirrors onto itself. A plane of another
    size than a slice (a stack thinner than wide) is resized to it bilinearly; less than two slices are refused.
    Networks: of the kind that all rows share, for one channel. Decision: the mean of the views' probabilities.
With text (`mv_dar_text`): the losses of CLIP-Lung's default row (clip_lung.py: L_IC + alpha L_IA + beta L_CA with soft
    targets), for each view on the map that Prd-Net's layer reads, in 16 groups. One context, one meta-net and one
    temperature serve all views. They learn on CR as Prd-Net does, so the two rows differ in nothing but texts. A
    prediction reads no text.
Deviations: equal budget. The nine encoders together have about the multiplications of one shared encoder, as every row
    has: each is a third as wide (_parallel.py says how that is rounded). That costs accuracy: on the outer folds of
    LIDC-A/B/C 53.1/83.8/83.9 against 54.8/85.0/85.1 at full width, with text 52.6/82.2/82.6 against 54.6/85.6/85.0
    (accuracy of `quick` on the phantom, three seeds, 2026-11-27). `mv_dar_wide` has nine encoders of full width.
    Others, beyond those readings, are not known. The original is tested on other nodules and classes; here Prd-Net is
    tested on all nodules, of which it is taught a part. Defaults: alpha = 1 and beta = 0.5 (CLIP-Lung's).
Worth knowing: of LIDC's 2,651 nodules 524 are in CR (274 benign, 154 unsure, 96 malignant), 1,356 in IC (1,065 exclude
    a class) and 771 in LR: Prd-Net has a fifth of the labels that cross-entropy has. Nine encoders of full
    width and one channel cost six to eight times what cross-entropy's does.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Json, Method, Task, Unsupported
from methods._attributes import attribute_loss, require_attributes
from methods._parallel import ParallelEncoders, narrowed
from methods._prompts import (
    GROUPS,
    ConditionalPrompts,
    group_channels,
    image_class_loss,
    random_context,
    require_four_by_four,
)
from methods._readers import divide, require_readers_classes, votes
from methods._text import bounded, cosine_logits, encode_texts, shared_tower

READERS_CLASSES = 3  # benign, unsure, malignant
VIEWS, NETWORKS = 3, 3


def central_planes(images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch 3 rows columns"]:
    """Return the planes through the centre: the slice, the one of slices and columns, the one of slices and rows."""
    planes, size = [], images.shape[2:]
    for axis in (1, 2, 3):
        last = images.shape[axis] - 1
        plane = (images.select(axis, last // 2) + images.select(axis, (last + 1) // 2)) / 2
        if plane.shape[1:] != size:
            plane = functional.interpolate(plane[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        planes.append(plane)
    return torch.stack(planes, dim=1)


def complementary_loss(
    logits: Float[Tensor, "batch classes"], excluded: Bool[Tensor, "batch classes"]
) -> Float[Tensor, " batch"]:
    """Return the mean of -ln(1 - p_k) over the excluded classes; zero where there is none.

    >>> complementary_loss(torch.zeros(2, 3), torch.tensor([[False, False, True], [False, False, False]]))
    tensor([0.4055, 0.0000])
    """
    own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    others = logits[:, None].masked_fill(own, -math.inf).logsumexp(dim=2)  # no difference 1 - p, which rounds to zero
    losses = logits.logsumexp(dim=1, keepdim=True) - others
    return (losses * excluded).sum(dim=1) / excluded.sum(dim=1).clamp(min=1)


def mean_of(losses: Float[Tensor, " batch"], members: Bool[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Return the mean over the members; zero where there is none."""
    return (losses * members).sum() / members.sum().clamp(min=1)


class Attending(nn.Module):
    """What CF-Net and LR-Net make of their maps: an attention over the places, and a layer on what is left."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(width, 1, kernel_size=1)
        self.classifier = nn.Linear(width, classes)

    def forward(
        self, maps: Float[Tensor, "batch features height width"]
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch 1 height width"]]:
        """Return logits, and the attention without a way back."""
        attention = self.attention(maps).sigmoid()
        return self.classifier((maps * attention).mean(dim=(2, 3))), attention.detach()


class DivideAndRule(nn.Module):
    """The three networks of a view, behind their encoders."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, classes)
        self.counterfactual = Attending(width, READERS_CLASSES)
        self.low_reliable = Attending(width, classes)

    def forward(self, maps_of: Float[Tensor, "batch 3 features height width"]) -> dict[str, Tensor]:
        """Return Prd-Net's map as its layer reads it, and the logits of the three.

        Args:
            maps_of: Prd-Net, CF-Net and LR-Net.
        """
        own, of_cf, of_lr = maps_of.unbind(dim=1)
        excluding, negative = self.counterfactual(of_cf)
        low, consistent = self.low_reliable(of_lr)
        maps = own * (1 + consistent) * (1 - negative)
        return {"maps": maps, "prd": self.classifier(maps.mean(dim=(2, 3))), "cf": excluding, "lr": low}


class MultiViewDivideAndRule(Method):
    """Three views, three networks each; the mean of Prd-Net's probabilities predicts."""

    title = "MV-DAR (reconstruction)"
    encoders = 9
    narrowing = 3
    reads_whole_crop = True

    def __init__(self, task: Task) -> None:
        super().__init__()
        require_readers_classes(task)
        slices, rows, columns = task.image_shape
        if slices < 2:
            raise Unsupported("MV-DAR cuts three orthogonal planes, which a single slice does not have")
        self.networks = ParallelEncoders(replace(task, image_shape=(1, rows, columns)), self.encoders, self.narrowing)
        self.views = nn.ModuleList(DivideAndRule(self.networks.width, task.num_classes) for _ in range(VIEWS))

    def seen(self, planes: Float[Tensor, "batch 3 rows columns"]) -> list[dict[str, Tensor]]:
        """Return what the networks of each view see."""
        maps = self.networks(planes.repeat_interleave(NETWORKS, dim=1)).unflatten(1, (VIEWS, NETWORKS))
        return [view(maps[:, number]) for number, view in enumerate(self.views)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the three networks' losses, summed over the views."""
        of_views = [self.view_terms(seen, batch) for seen in self.seen(central_planes(batch.images))]
        return {name: torch.stack([terms[name] for terms in of_views]).sum() for name in of_views[0]}

    def view_terms(self, seen: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the losses of one view, from what its networks see."""
        said = votes(batch.malignancy, batch.labels, READERS_CLASSES)
        reliable, inconsistent, low = divide(batch.malignancy, said)
        excluded = (said == 0) & inconsistent[:, None]
        return {
            "prd": mean_of(functional.cross_entropy(seen["prd"], batch.labels, reduction="none"), reliable),
            "cf": mean_of(complementary_loss(seen["cf"], excluded), excluded.any(dim=1)),
            "lr": mean_of(functional.cross_entropy(seen["lr"], batch.labels, reduction="none"), low),
        }

    def proba_of(self, planes: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the mean of the views' probabilities."""
        return torch.stack([seen["prd"].softmax(dim=1) for seen in self.seen(planes)]).mean(dim=0)

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the mean of the views' probabilities, on the planes through the centre."""
        return self.proba_of(central_planes(images))


class MultiViewAtFullWidth(MultiViewDivideAndRule):
    """The same with nine encoders of the shared one's width, at about nine times its cost."""

    title = "MV-DAR (full width)"
    narrowing = 1


class MultiViewWithText(MultiViewDivideAndRule):
    """The same with CLIP-Lung's contrasts with class and attribute texts, in training only.

    Args:
        task: What to work on.
        alpha: Weight of L_IA.
        beta: Weight of L_CA.
    """

    title = "MV-DAR + text (reconstruction)"
    reads_text = True
    no_weight_decay = ("logit_scale",)
    attribute_features: Tensor

    def __init__(self, task: Task, alpha: float = 1.0, beta: float = 0.5) -> None:
        require_attributes(task, "the textual branch aligns images with")
        require_four_by_four(task)
        super().__init__(task)
        tower = shared_tower(replace(task, encoder=narrowed(task.encoder, self.narrowing)))
        self.tower_metadata = tower.metadata()
        self.alpha, self.beta = alpha, beta
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        attributes = encode_texts(tower, [f"{name}." for name in task.attribute_names])
        self.register_buffer("attribute_features", attributes, persistent=False)
        self.prompts = ConditionalPrompts(tower, task.class_names, random_context(GROUPS, tower.width))

    def metadata(self) -> dict[str, Json]:
        """Return which text tower it is."""
        return {"text_tower": self.tower_metadata}

    def view_terms(self, seen: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the losses of one view, those with texts among them."""
        terms = super().view_terms(seen, batch)
        reliable = divide(batch.malignancy, votes(batch.malignancy, batch.labels, READERS_CLASSES))[0]
        scale, groups = bounded(self.logit_scale), group_channels(seen["maps"])
        fixed = self.attribute_features, batch.attributes.softmax(dim=1), scale
        classes = self.prompts(groups)
        logits = cosine_logits(groups, classes[:, None], scale)
        return terms | {
            "ic": mean_of(image_class_loss(logits, batch.labels), reliable),
            "ia": self.alpha * mean_of(attribute_loss(groups, *fixed), reliable),
            "ca": self.beta * mean_of(attribute_loss(classes, *fixed), reliable),
        }
