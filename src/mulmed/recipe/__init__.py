"""The recipe file: one YAML document that says everything a run depends on.

Unknown keys are refused with the nearest known one, so nothing is accepted and ignored.
"""

from mulmed.recipe.baselines import Api, Baseline, Local, Made, Published
from mulmed.recipe.corpus import (
    HUB_PATH,
    Columns,
    Corpus,
    Decontaminate,
    Deduplicate,
    Deidentify,
    Executor,
    Holdout,
    Layout,
    Source,
)
from mulmed.recipe.document import (
    Decoding,
    Evaluation,
    Generation,
    Recipe,
    Report,
    Tracker,
    Vocabulary,
    Workers,
)
from mulmed.recipe.language import Identifier, Language
from mulmed.recipe.loading import load_recipe, load_serving
from mulmed.recipe.review import RequireReview
from mulmed.recipe.serving import Serving
from mulmed.recipe.settings import Fraction, Name, Seed, Settings
from mulmed.recipe.steps import Lora, Mix, Step

__all__ = [
    "HUB_PATH",
    "Api",
    "Baseline",
    "Columns",
    "Corpus",
    "Decoding",
    "Decontaminate",
    "Deduplicate",
    "Deidentify",
    "Evaluation",
    "Executor",
    "Fraction",
    "Generation",
    "Holdout",
    "Identifier",
    "Language",
    "Layout",
    "Local",
    "Lora",
    "Made",
    "Mix",
    "Name",
    "Published",
    "Recipe",
    "Report",
    "RequireReview",
    "Seed",
    "Serving",
    "Settings",
    "Source",
    "Step",
    "Tracker",
    "Vocabulary",
    "Workers",
    "load_recipe",
    "load_serving",
]
