"""What is trained: the rows of the tables, in their order.

A new method is a file, a line here and a test; or a plugin that calls `register`, without any edit.
"""

from benchmark.contracts import Kind, Method, Row, Setting
from methods.binomial import Binomial
from methods.cdw_ce import ClassDistanceWeighted
from methods.ce import CrossEntropy
from methods.ce_diameter import CrossEntropyDiameter
from methods.clip import Clip
from methods.clip_adapter import ClipAdapter
from methods.clip_lung import LOSSES, ClipLung
from methods.clip_lung_orthogonal import ClipLungOrthogonal
from methods.clip_lung_released import ClipLungReleased
from methods.clm import CumulativeLink
from methods.cocoop import CoCoOp
from methods.coop import CoOp
from methods.coral import Coral
from methods.corf import OrdinalForest
from methods.corn import Corn
from methods.emd import SquaredEarthMover
from methods.kgcoop import KgCoOp
from methods.ldl import LabelDistribution
from methods.morf import MetaForest
from methods.multitask import MultiTask
from methods.mv_dar import MultiViewAtFullWidth, MultiViewDivideAndRule, MultiViewWithText
from methods.nsb import NeuronStickBreaking
from methods.numclip import NumClip
from methods.ordinal_clip import OrdinalClip
from methods.poisson import Poisson
from methods.qwk import WeightedKappa
from methods.sord import SoftLabels
from methods.udm import UnsureDataModel

ROWS: dict[str, Row] = {}


def register(key: str, method: object, /, title: str = "", **hyperparameters: Setting) -> None:
    """Add a row below all others; for `run_all.py --plugin FILE`.

    Args:
        key: Names it on the command line and its fits on disk.
        method: What to train.
        title: As printed; the method's own if empty.
        **hyperparameters: Those that differ from the method's defaults.

    Raises:
        ValueError: The key is taken, or is not lower-case letters, digits and underscores; it is no Method, has no
            title, or has no such hyperparameter.
    """
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise ValueError(
            f"{method!r} cannot be registered: a method is a class that inherits benchmark.contracts.Method"
        )
    if not (title or getattr(method, "title", "")):
        raise ValueError(f"{method.__name__} has no title: give its class one, title = ..., as the tables print it")
    _add(Row(key, title or method.title, "plugin", method, hyperparameters))


def _add(*rows: Row) -> None:
    for row in rows:
        if row.key in ROWS:
            raise ValueError(f"method key {row.key!r} is taken by {ROWS[row.key].make.__name__}; choose another")
        if unknown := row.hyperparameters.keys() - row.defaults.keys():
            known = ", ".join(row.defaults) or "none"
            raise ValueError(f"{row.key} sets {min(unknown)!r}, but {row.title} has the hyperparameters: {known}")
        ROWS[row.key] = row


def _row(key: str, kind: Kind, method: type[Method]) -> Row:
    """Return the row of a method as it is."""
    return Row(key, method.title, kind, method)


def _clip_lung(*losses: str) -> Row:
    """Return the row of CLIP-Lung with these losses: a row of the paper's Table 3, whose last is the method itself."""
    ticked = " + ".join(losses).upper()
    if losses == LOSSES:
        return Row("clip_lung", ClipLung.title, "paper", ClipLung, losses=ticked)
    key, title = "_".join(("clip_lung", *losses)), f"{ClipLung.title} ({ticked})"
    return Row(key, title, "ablation", ClipLung, {"losses": losses}, losses=ticked)


def _shuffled(texts: str) -> Row:
    """Return the row of CLIP-Lung with texts that stand for another attribute or class: a control."""
    title = f"{ClipLung.title} (shuffled {texts})"
    return Row(f"clip_lung_shuffled_{texts}", title, "control", ClipLung, {"shuffled": (texts,)})


def _variant(key: str, method: type[Method], what: str, **hyperparameters: Setting) -> Row:
    """Return the row of a method with another setting, and what that is in brackets."""
    return Row(key, f"{method.title} ({what})", "variant", method, hyperparameters)


_add(
    _row("ce", "paper", CrossEntropy),
    _row("poisson", "paper", Poisson),
    _row("nsb", "paper", NeuronStickBreaking),
    _row("udm", "paper", UnsureDataModel),
    _row("corf", "paper", OrdinalForest),
    _row("clip", "paper", Clip),
    _row("cocoop", "paper", CoCoOp),
    _clip_lung(*LOSSES),
    _row("mv_dar", "paper", MultiViewDivideAndRule),
    _row("mv_dar_text", "paper", MultiViewWithText),
    _row("multitask", "control", MultiTask),
    _shuffled("attributes"),
    _shuffled("classes"),
    _row("clip_lung_orthogonal", "control", ClipLungOrthogonal),
    _row("ce_diameter", "control", CrossEntropyDiameter),
    _row("ldl", "control", LabelDistribution),
    _row("clip_lung_released", "added", ClipLungReleased),
    _row("binomial", "added", Binomial),
    _row("coral", "added", Coral),
    _row("corn", "added", Corn),
    _row("sord", "added", SoftLabels),
    _row("clm", "added", CumulativeLink),
    _row("cdw_ce", "added", ClassDistanceWeighted),
    _row("emd", "added", SquaredEarthMover),
    _row("qwk", "added", WeightedKappa),
    _row("morf", "added", MetaForest),
    _row("ordinal_clip", "added", OrdinalClip),
    _row("numclip", "added", NumClip),
    _row("coop", "added", CoOp),
    _row("kgcoop", "added", KgCoOp),
    _row("clip_adapter", "added", ClipAdapter),
    _row("mv_dar_wide", "added", MultiViewAtFullWidth),
    _clip_lung("ic"),
    _clip_lung("ic", "ia"),
    _clip_lung("ia", "ca"),
    _clip_lung("ic", "ca"),
    _variant("poisson_learned_tau", Poisson, "learned temperature", learn_tau=True),
    _variant("nsb_smoothed", NeuronStickBreaking, "smoothed labels", smoothing=0.15),
    _variant("udm_balanced", UnsureDataModel, "balanced costs", gamma="balanced"),
    _variant("corf_categorical", OrdinalForest, "categorical leaves", leaf="categorical"),
    _variant("clip_lung_literal", ClipLung, "literal attribute loss", attribute_loss="literal"),
    _variant("clip_lung_scaled_logit", ClipLung, "scaled logits", attribute_loss="scaled_logit"),
    _variant("clip_lung_presence", ClipLung, "ratings as presence", attr_scale="presence"),
    _variant("clip_lung_trusted", ClipLung, "trusted ratings alone", trusted_only=True),
    _variant("clip_lung_class_first", ClipLung, "class first", class_first=True),
    _variant("clip_lung_sums", ClipLung, "sums as printed", sums=True),
    _variant("clip_lung_released_cold", ClipLungReleased, "temperature from 0.01", start_tau=0.01),
    _variant("coral_zero_biases", Coral, "biases from zero", preinit_bias=False),
    _variant("sord_squared", SoftLabels, "squared distance", distance="squared"),
    _variant("cdw_ce_fifth", ClassDistanceWeighted, "fifth power", power=5.0),
    _variant("clm_probit", CumulativeLink, "probit", link="probit"),
    _variant("clm_cloglog", CumulativeLink, "complementary log-log", link="cloglog"),
    _variant("ordinal_clip_two_words", OrdinalClip, "two base words", base_ranks=2),
    _variant("ordinal_clip_inverse", OrdinalClip, "inverse distance", interpolation="inverse"),
)
