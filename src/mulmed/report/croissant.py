"""The corpus as Croissant 1.1: what a data set holds, in a form that machines read.

Vocabulary: MLCommons, Croissant Format Specification 1.1 (http://mlcommons.org/croissant/1.1). Everything told comes from the
corpus stage's manifest and statistics; no text of a record is in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mulmed.artifact import read_artifact
from mulmed.report.files import broken, read_json

RECORDS = "records.parquet"
_CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape", "citeAs": "cr:citeAs", "column": "cr:column", "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn", "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/", "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty", "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract", "field": "cr:field", "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes", "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5",
    "name": {"@container": "@language"}, "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "samplingRate": "cr:samplingRate", "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source",
    "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
#: Columns of the records (:data:`mulmed.corpus.batch.SCHEMA`): what they hold, and of what kind it is.
FIELDS = {
    "id": ("sc:Text", "Source, row and a hash of the first question and answer."),
    "task": ("sc:Text", "instruction, summary, qa or dialogue."),
    "language": ("sc:Text", "ISO 639-1 code."),
    "split": ("sc:Text", "train, validation or test."),
    "source": ("sc:Text", "The published corpus the record comes from."),
    "file": ("sc:Text", "The file of the source."),
    "row": ("sc:Integer", "Its place in the file."),
    "context": ("sc:Text", "What an instruction is about; else empty."),
    "answer_cut": ("sc:Boolean", "Whether the end of the answer was cut to the tokenizer's budget."),
}


def croissant(corpus: Path, name: str) -> dict[str, Any]:
    """The JSON-LD document of a finished corpus stage.

    Args:
        corpus: the stage's folder.
        name: of the data set.

    Raises:
        MulmedError: the stage is not finished.
    """
    artifact = read_artifact(corpus)
    if artifact is None:
        raise broken(corpus, "The corpus is not finished.")
    statistics = read_json(corpus / "statistics.json")
    sources = artifact.manifest["config"]["corpus"]["sources"]
    records = artifact.manifest["files"][RECORDS]
    languages = sorted({row["language"] for row in statistics["splits"]})
    licences = sorted({source["licence"] or "not stated by the recipe" for source in sources.values()})
    count = sum(row["records"] for row in statistics["splits"])
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": name,
        "description": f"{count:,} cleaned records for a medical language model, from {', '.join(sources)}. How they were cleaned, and "
        "what they are unfit for, is told in the data card.",
        "license": licences,
        "inLanguage": languages,
        "keywords": ["medical", "instruction", "question answering", "dialogue", "lay summary"],
        "version": f"1.0.0+{statistics['records_sha256'][:12]}",
        "isAccessibleForFree": False,
        "rai:dataCollection": "Published corpora, read and cleaned by MulMed; no data were collected for it.",
        "rai:personalSensitiveInformation": "Consultations about people's health. Identifiers were replaced by rules, which miss some: "
        "see the data card.",
        "rai:dataUseCases": "Research on medical language models. Not for advice to patients.",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": RECORDS,
                "name": RECORDS,
                "description": "All records; not shipped with the card.",
                "contentUrl": RECORDS,
                "contentSize": f"{records['bytes']} B",
                "encodingFormat": "application/x-parquet",
                "sha256": records["sha256"],
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "records",
                "name": "records",
                "description": "A conversation a record; its turns are the column `turns`, a list of role and text.",
                "key": {"@id": "records/id"},
                "field": [_field(column, *told) for column, told in FIELDS.items()],
            }
        ],
    }


def _field(column: str, kind: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"records/{column}",
        "name": column,
        "description": description,
        "dataType": kind,
        "source": {"fileObject": {"@id": RECORDS}, "extract": {"column": column}},
    }
