"""Text towers that go by a short name: where they are, and what a source that we could read states of each.

An empty field was not stated by any source within reach: it is neither guessed nor checked. What is stated is held
against what is found, so that a name never stands for something else.

Sources: open_clip's own tables (OpenAI, LAION; a test compares them), and the pages of the models on the Hugging Face
hub: `open_clip_config.json`, commits, and the hash of a file where its page or its pointer in git shows one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Named:
    """A text tower with a short name.

    Attributes:
        repository: On the hub.
        title: What it is, in a few words.
        size: Width, layers and heads of its text side.
        activation: `"gelu"` or `"quick_gelu"`.
        revision: Commit of the repository that is taken where the command line names none.
        file: Of the weights in that commit.
        sha256: Hash of that file.
    """

    repository: str
    title: str
    size: tuple[int, int, int] | None = None
    activation: str = ""
    revision: str = ""
    file: str = ""
    sha256: str = ""


NAMED: dict[str, Named] = {
    "openai_l14": Named(
        "timm/vit_large_patch14_clip_224.openai",
        "OpenAI's CLIP ViT-L/14",
        size=(768, 12, 12),
        activation="quick_gelu",
    ),
    "laion_b16": Named(
        "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
        "LAION's CLIP ViT-B/16 (LAION-2B)",
        size=(512, 12, 8),
        activation="gelu",
    ),
    "laion_l14": Named(
        "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
        "LAION's CLIP ViT-L/14 (LAION-2B)",
        size=(768, 12, 12),
        activation="gelu",
    ),
    "pmc_vit_l_14": Named(
        "ryanyip7777/pmc_vit_l_14",
        "ViT-L/14 tuned on PMC-OA and ROCO",
        size=(768, 12, 12),
        activation="gelu",
        revision="a1db5a40d0a07855a435d9fabde846fdf7028be4",
        file="open_clip_model.safetensors",
        sha256="24bf00a8d2ed5b7b5809fd4e6f48d3db04f745dd51b94edcdf8c33a43b6280a6",
    ),
    "medicat_roco": Named(
        "luhuitong/CLIP-ViT-L-14-448px-MedICaT-ROCO",
        "pmc_vit_l_14 tuned on MedICaT and ROCO at 448 pixels",
        file="open_clip_pytorch_model.bin",
        sha256="69066fe236c92e0a42d42e7d4d2aa9bec3410515d723ff34dd6291b11956a9e7",
    ),
    "quiltnet_b16": Named(
        "wisdomik/QuiltNet-B-16",
        "ViT-B/16 tuned on Quilt-1M (histopathology)",
        size=(512, 12, 8),
        activation="gelu",
        revision="fffebfd558bb2e8dcb9a6aea22caaf981115cdcd",
        file="open_clip_pytorch_model.bin",
    ),
    "quiltnet_b32": Named(
        "wisdomik/QuiltNet-B-32",
        "ViT-B/32 tuned on Quilt-1M (histopathology)",
        size=(512, 12, 8),
        activation="gelu",
        revision="88c3e9fce3fbd77101ad33e17f20fdec0aa21889",
        file="open_clip_pytorch_model.bin",
    ),
    "pubmedclip": Named(
        "flaviagiammarino/pubmed-clip-vit-base-patch32",
        "PubMedCLIP, ViT-B/32 tuned on ROCO, in the layout of transformers",
    ),
    "biomedclip": Named(
        "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        "BiomedCLIP, whose text side is PubMedBERT; needs the package transformers",
        revision="f658b0b9eeca714b891d004b2d714c7ad3705170",
        file="open_clip_pytorch_model.bin",
        sha256="52cc993c5c5ff962bd0c60931874bc001e7e9b41666a385530f4a036294576be",
    ),
}


def known(repository: str, revision: str) -> Named:
    """Return what is stated of a repository at a revision (empty: whichever is stated); nothing where it is none."""
    for named in NAMED.values():
        if named.repository == repository and revision in ("", named.revision):
            return named
    return Named(repository, "")
