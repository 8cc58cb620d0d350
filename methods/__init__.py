"""What is trained: the rows of the tables, in their order.

A new method is a file, a line here and a test; or a plugin that calls `register`, without any edit. A line names the
method by its file and class: what the tables need of it is read from there, and it is imported when it is made.
"""

from benchmark.contracts import Kind, Row, Setting
from benchmark.contracts.traits import of_class, of_source

ROWS: dict[str, Row] = {}


def register(key: str, method: object, /, title: str = "", **hyperparameters: Setting) -> None:
    """Add a row below all others; for `run_all.py --plugin FILE`.

    Args:
        key: Names it on the command line and its fits on disk.
        method: What to train.
        title: As printed; the method's own if empty.
        **hyperparameters: Those that differ from the method's defaults.

    Raises:
        ValueError: The key is taken, or is not lower-case letters, digits and underscores; it is no Method, does not
            say how to train or predict, has no title, or has no such hyperparameter.
    """
    from benchmark.contracts import Method  # here: what a plugin defines has imported torch already

    if not (isinstance(method, type) and issubclass(method, Method)):
        raise ValueError(
            f"{method!r} cannot be registered: a method is a class that inherits benchmark.contracts.Method"
        )
    for name in ("loss", "predict_proba"):
        if getattr(method, name) is getattr(Method, name):
            raise ValueError(f"{method.__name__} has no {name}: define it (CONTRIBUTING.md shows how)")
    if not (title := title or of_class(method).title):
        raise ValueError(f"{method.__name__} has no title: give its class one, title = ..., as the tables print it")
    _add(Row(key, title, "plugin", method, hyperparameters))


def _add(*rows: Row) -> None:
    for row in rows:
        if row.key in ROWS:
            taken = ROWS[row.key].source.rpartition(".")[2]
            raise ValueError(f"method key {row.key!r} is taken by {taken}; choose another")
        if unknown := row.hyperparameters.keys() - row.defaults.keys():
            known = ", ".join(row.defaults) or "none"
            raise ValueError(f"{row.key} sets {min(unknown)!r}, but {row.title} has the hyperparameters: {known}")
        ROWS[row.key] = row


def _row(key: str, kind: Kind, method: str) -> Row:
    """Return the row of a method as it is."""
    return Row(key, _title(method), kind, _source(method))


def _variant(key: str, method: str, what: str, **hyperparameters: Setting) -> Row:
    """Return the row of a method with another setting, and what that is in brackets."""
    return Row(key, f"{_title(method)} ({what})", "variant", _source(method), hyperparameters)


def _clip_lung(*losses: str) -> Row:
    """Return the row of CLIP-Lung with some of its losses: a row of the paper's Table 3."""
    ticked = " + ".join(losses).upper()
    key, title = "_".join(("clip_lung", *losses)), f"{_title(CLIP_LUNG)} ({ticked})"
    return Row(key, title, "ablation", _source(CLIP_LUNG), {"losses": losses}, losses=ticked)


def _shuffled(texts: str) -> Row:
    """Return the row of CLIP-Lung with texts that stand for another attribute or class: a control."""
    title = f"{_title(CLIP_LUNG)} (shuffled {texts})"
    return Row(f"clip_lung_shuffled_{texts}", title, "control", _source(CLIP_LUNG), {"shuffled": (texts,)})


def _source(method: str) -> str:
    return f"{__name__}.{method}"


def _title(method: str) -> str:
    return of_source(_source(method)).title


CLIP_LUNG = "clip_lung.ClipLung"

_add(
    _row("ce", "paper", "ce.CrossEntropy"),
    _row("poisson", "paper", "poisson.Poisson"),
    _row("nsb", "paper", "nsb.NeuronStickBreaking"),
    _row("udm", "paper", "udm.UnsureDataModel"),
    _row("corf", "paper", "corf.OrdinalForest"),
    _row("clip", "paper", "clip.Clip"),
    _row("cocoop", "paper", "cocoop.CoCoOp"),
    Row("clip_lung", _title(CLIP_LUNG), "paper", _source(CLIP_LUNG), losses="IC + IA + CA"),
    _row("mv_dar", "paper", "mv_dar.MultiViewDivideAndRule"),
    _row("mv_dar_text", "paper", "mv_dar.MultiViewWithText"),
    _row("multitask", "control", "multitask.MultiTask"),
    _shuffled("attributes"),
    _shuffled("classes"),
    _row("clip_lung_orthogonal", "control", "clip_lung_orthogonal.ClipLungOrthogonal"),
    _row("ce_diameter", "control", "ce_diameter.CrossEntropyDiameter"),
    _row("ldl", "control", "ldl.LabelDistribution"),
    _row("clip_lung_released", "added", "clip_lung_released.ClipLungReleased"),
    _row("binomial", "added", "binomial.Binomial"),
    _row("coral", "added", "coral.Coral"),
    _row("corn", "added", "corn.Corn"),
    _row("sord", "added", "sord.SoftLabels"),
    _row("clm", "added", "clm.CumulativeLink"),
    _row("cdw_ce", "added", "cdw_ce.ClassDistanceWeighted"),
    _row("emd", "added", "emd.SquaredEarthMover"),
    _row("qwk", "added", "qwk.WeightedKappa"),
    _row("morf", "added", "morf.MetaForest"),
    _row("ordinal_clip", "added", "ordinal_clip.OrdinalClip"),
    _row("numclip", "added", "numclip.NumClip"),
    _row("coop", "added", "coop.CoOp"),
    _row("kgcoop", "added", "kgcoop.KgCoOp"),
    _row("clip_adapter", "added", "clip_adapter.ClipAdapter"),
    _row("mv_dar_wide", "added", "mv_dar.MultiViewAtFullWidth"),
    _clip_lung("ic"),
    _clip_lung("ic", "ia"),
    _clip_lung("ia", "ca"),
    _clip_lung("ic", "ca"),
    _variant("poisson_learned_tau", "poisson.Poisson", "learned temperature", learn_tau=True),
    _variant("nsb_smoothed", "nsb.NeuronStickBreaking", "smoothed labels", smoothing=0.15),
    _variant("udm_balanced", "udm.UnsureDataModel", "balanced costs", gamma="balanced"),
    _variant("corf_categorical", "corf.OrdinalForest", "categorical leaves", leaf="categorical"),
    _variant("clip_lung_literal", CLIP_LUNG, "literal attribute loss", attribute_loss="literal"),
    _variant("clip_lung_scaled_logit", CLIP_LUNG, "scaled logits", attribute_loss="scaled_logit"),
    _variant("clip_lung_presence", CLIP_LUNG, "ratings as presence", attr_scale="presence"),
    _variant("clip_lung_trusted", CLIP_LUNG, "trusted ratings alone", trusted_only=True),
    _variant("clip_lung_class_first", CLIP_LUNG, "class first", class_first=True),
    _variant("clip_lung_sums", CLIP_LUNG, "sums as printed", sums=True),
    _variant("clip_lung_released_cold", "clip_lung_released.ClipLungReleased", "temperature from 0.01", start_tau=0.01),
    _variant("coral_zero_biases", "coral.Coral", "biases from zero", preinit_bias=False),
    _variant("sord_squared", "sord.SoftLabels", "squared distance", distance="squared"),
    _variant("cdw_ce_fifth", "cdw_ce.ClassDistanceWeighted", "fifth power", power=5.0),
    _variant("clm_probit", "clm.CumulativeLink", "probit", link="probit"),
    _variant("clm_cloglog", "clm.CumulativeLink", "complementary log-log", link="cloglog"),
    _variant("ordinal_clip_two_words", "ordinal_clip.OrdinalClip", "two base words", base_ranks=2),
    _variant("ordinal_clip_inverse", "ordinal_clip.OrdinalClip", "inverse distance", interpolation="inverse"),
)
